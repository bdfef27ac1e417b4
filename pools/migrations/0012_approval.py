import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0011_notifications"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="pool",
            options={
                "ordering": ["slug"],
                "permissions": [
                    ("change_config", "Can publish config versions"),
                    ("approve_config", "Can approve config versions"),
                    ("control_pool", "Can pause, resume and drain"),
                    ("scale_pool", "Can change the number of workers"),
                    ("requeue_dead_letters", "Can requeue dead letters"),
                    ("discard_dead_letters", "Can discard dead letters"),
                    ("approve_operations", "Can approve large operations"),
                    ("reveal_payload", "Can reveal payloads of jobs"),
                ],
            },
        ),
        migrations.AddField(
            model_name="pool",
            name="approval_limit",
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="operation",
            name="state",
            field=models.CharField(
                choices=[
                    ("awaiting", "Awaiting approval"),
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
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("needed", models.JSONField()),
                ("lapses_at", models.DateTimeField()),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("approved", "Approved"),
                            ("declined", "Declined"),
                            ("withdrawn", "Withdrawn"),
                            ("lapsed", "Lapsed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("actor_name", models.CharField(blank=True, max_length=200)),
                ("reason", models.CharField(blank=True, max_length=2000)),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "operation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="approval", to="pools.operation"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("decision", "")), fields=["lapses_at"], name="approval_waiting")
                ],
            },
        ),
    ]
