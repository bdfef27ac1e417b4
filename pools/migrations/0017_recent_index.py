"""PostgreSQL counts what failed since a moment from an index as narrow as can be. SQLite does it group by group."""

from django.db import migrations


def install(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE INDEX dead_letter_recent ON pools_deadletter (failed_at, group_id) WHERE state = 'open'"
        )


def remove(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP INDEX dead_letter_recent")


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0016_searchable_arguments"),
    ]

    operations = [
        migrations.RunPython(install, remove, elidable=False),
    ]
