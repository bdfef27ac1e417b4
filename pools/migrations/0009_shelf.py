import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0008_registry_score"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="deadletter",
            name="came_back",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="shelved_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="operation",
            name="source",
            field=models.CharField(
                choices=[
                    ("open", "Dead"),
                    ("requeued", "Requeued"),
                    ("discarded", "Discarded"),
                    ("quarantined", "Quarantined"),
                    ("archived", "Archived"),
                    ("gone", "Gone from the broker"),
                ],
                default="open",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="pool",
            name="poison_after",
            field=models.PositiveSmallIntegerField(
                default=3, validators=[django.core.validators.MaxValueValidator(100)]
            ),
        ),
        migrations.AlterField(
            model_name="deadletter",
            name="state",
            field=models.CharField(
                choices=[
                    ("open", "Dead"),
                    ("requeued", "Requeued"),
                    ("discarded", "Discarded"),
                    ("quarantined", "Quarantined"),
                    ("archived", "Archived"),
                    ("gone", "Gone from the broker"),
                ],
                default="open",
                max_length=12,
            ),
        ),
        migrations.AlterField(
            model_name="operation",
            name="created_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AlterField(
            model_name="operation",
            name="kind",
            field=models.CharField(
                choices=[
                    ("requeue", "Requeue"),
                    ("discard", "Discard"),
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
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("shelved_until__isnull", False)),
                fields=["state", "-failed_at", "-id", "pool", "shelved_until"],
                name="dead_letter_shelf",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("shelved_until__isnull", False)),
                fields=["shelved_until"],
                name="dead_letter_expired",
            ),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("came_back__gt", 0)),
                fields=["state", "came_back", "pool"],
                name="dead_letter_poison",
            ),
        ),
    ]
