import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0006_reveal"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="operation",
            name="again_of",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="again", to="pools.operation"
            ),
        ),
        migrations.AddField(
            model_name="operation",
            name="canary_count",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="canary_effects",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="operation",
            name="canary_min_success",
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="canary_over_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="canary_sent_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="canary_timeout",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="guarded_from",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="operation",
            name="paced_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="recall",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="operation",
            name="same_failures",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="operation",
            name="stop_same_failure",
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="stopped_because",
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddField(
            model_name="operation",
            name="wake_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="operationitem",
            name="group",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="pools.failuregroup",
            ),
        ),
        migrations.AddField(
            model_name="operationitem",
            name="same_failure",
            field=models.BooleanField(null=True),
        ),
        migrations.AlterField(
            model_name="operation",
            name="state",
            field=models.CharField(
                choices=[
                    ("frozen", "Frozen"),
                    ("running", "Running"),
                    ("paused", "Paused"),
                    ("stopped", "Stopped"),
                    ("cancelled", "Cancelled"),
                    ("ended", "Ended"),
                ],
                default="running",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="operationitem",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("pending", "Not sent yet"),
                    ("requeued", "Requeued"),
                    ("discarded", "Discarded"),
                    ("not_failed", "Skipped: no longer in the failed registry"),
                    ("gone", "Skipped: the broker no longer has it"),
                    ("damaged", "Skipped: its record is damaged"),
                    ("cancelled", "Not sent: cancelled"),
                    ("recalled", "Recalled before it ran"),
                ],
                default="pending",
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="operation",
            index=models.Index(
                condition=models.Q(("state", "running"), ("wake_at__isnull", False)),
                fields=["wake_at"],
                name="operation_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="operationitem",
            index=models.Index(
                condition=models.Q(("effect", "failed_again")),
                fields=["operation", "position"],
                name="operation_item_failed_again",
            ),
        ),
    ]
