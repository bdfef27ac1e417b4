from django.db import migrations, models

from audit.immutability import install


class Migration(migrations.Migration):
    """A trigger marks each event as pending, so that none is there without. Ids and outcomes are found by an index, too."""

    dependencies = [
        ("audit", "0003_protection"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["actor_id", "-id"], name="audit_event_actor_id"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["target_id", "-id"], name="audit_event_target_id"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["outcome", "-id"], name="audit_event_outcome"),
        ),
        migrations.RunPython(install, migrations.RunPython.noop),
    ]
