import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0013_move"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PayloadEdit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("paths", models.JSONField()),
                ("salt", models.BinaryField()),
                ("old_commitment", models.CharField(max_length=64)),
                ("new_commitment", models.CharField(max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="SealedPayload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sealed", models.BinaryField()),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
        ),
        migrations.RemoveIndex(
            model_name="operation",
            name="operation_followed",
        ),
        migrations.AlterField(
            model_name="operation",
            name="kind",
            field=models.CharField(
                choices=[
                    ("requeue", "Requeue"),
                    ("discard", "Discard"),
                    ("move", "Move"),
                    ("edit", "Edit and requeue"),
                    ("quarantine", "Quarantine"),
                    ("archive", "Archive"),
                    ("restore", "Restore"),
                ],
                max_length=20,
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
                    ("changed", "Skipped: its payload was changed meanwhile"),
                    ("cancelled", "Not sent: cancelled"),
                    ("recalled", "Recalled before it ran"),
                    ("quarantined", "Quarantined"),
                    ("archived", "Archived"),
                    ("restored", "Restored"),
                    ("taken", "Skipped: another job has its id"),
                    ("expired", "Skipped: no longer kept"),
                    ("not_shelved", "Skipped: no longer where it lay"),
                    ("poison", "Skipped: poison"),
                ],
                default="pending",
                max_length=12,
            ),
        ),
        migrations.AddIndex(
            model_name="operation",
            index=models.Index(
                condition=models.Q(("effect_at", None), ("kind__in", ("requeue", "move", "edit"))),
                fields=["id"],
                name="operation_followed",
            ),
        ),
        migrations.AddField(
            model_name="payloadedit",
            name="operation",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="edit", to="pools.operation"
            ),
        ),
        migrations.AddField(
            model_name="sealedpayload",
            name="operation",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.CASCADE, related_name="sealed_payload", to="pools.operation"
            ),
        ),
    ]
