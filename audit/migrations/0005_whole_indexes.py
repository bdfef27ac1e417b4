from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes over every row: SQLite cannot tell that a partial one serves a filter whose value comes as a parameter."""

    dependencies = [
        ("audit", "0004_waiting"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="event",
            name="audit_event_pool",
        ),
        migrations.RemoveIndex(
            model_name="event",
            name="audit_event_request",
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["pool", "-id"], name="audit_event_pool"),
        ),
        migrations.AddIndex(
            model_name="event",
            index=models.Index(fields=["request_id"], name="audit_event_request"),
        ),
    ]
