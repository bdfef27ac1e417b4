import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0012_approval"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="operation",
            name="operation_followed",
        ),
        migrations.AddField(
            model_name="operation",
            name="to_pool",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="pools.pool"
            ),
        ),
        migrations.AddField(
            model_name="operation",
            name="to_queue",
            field=models.CharField(blank=True, max_length=255),
        ),
        migrations.AlterField(
            model_name="operation",
            name="kind",
            field=models.CharField(
                choices=[("requeue", "Requeue"), ("discard", "Discard"), ("move", "Move")], max_length=20
            ),
        ),
        migrations.AddIndex(
            model_name="operation",
            index=models.Index(
                condition=models.Q(("effect_at", None), ("kind__in", ("requeue", "move"))),
                fields=["id"],
                name="operation_followed",
            ),
        ),
    ]
