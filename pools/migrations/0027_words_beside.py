"""PostgreSQL keeps the words of failures in a table of their own too: they are not written when a job changes its state."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from pools import search_index


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Where an earlier version has made an index of that name."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_indexes WHERE indexname = %s", [search_index.INDEX])
        if cursor.fetchone():
            schema_editor.execute(f"DROP INDEX {search_index.INDEX}")
            search_index.install(apps, schema_editor)


class Migration(migrations.Migration):
    dependencies = [
        ("pools", "0026_operation_sent"),
    ]

    operations = [
        migrations.RunPython(install, migrations.RunPython.noop, elidable=True),
    ]
