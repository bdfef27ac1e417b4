"""The triggers that keep config versions as their authors wrote them. Installed by a migration.

SQLite forgets a table's triggers when a migration rebuilds the table, so such a migration ends with ``install``.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "pools_configversion"
AUTHORED = (
    "pool_id",
    "number",
    "change_id",
    "spec",
    "secrets",
    "message",
    "restored_from",
    "author_id",
    "author_name",
    "created_at",
)
SIGNED = ("envelope", "payload_sha256", "signed_at", "expires")
REFUSAL = "config versions are immutable"


def install_statements(vendor: str) -> list[str]:
    """For ``sqlite`` or ``postgresql``: refuse a change of authored columns, of a signature, and any deletion."""
    if vendor == "sqlite":
        changed = " OR ".join(f'NEW."{name}" IS NOT OLD."{name}"' for name in AUTHORED)
        resigned = " OR ".join(f'NEW."{name}" IS NOT OLD."{name}"' for name in SIGNED)
        refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        when = f'{changed} OR (OLD."signed_at" IS NOT NULL AND ({resigned}))'
        exists = (
            f'SELECT 1 FROM "{TABLE}" WHERE "id" = NEW."id" OR ("pool_id", "number") = (NEW."pool_id", NEW."number")'  # noqa: S608
        )
        return [
            f'CREATE TRIGGER "config_version_no_change" BEFORE UPDATE ON "{TABLE}" WHEN {when} {refuse}',
            f'CREATE TRIGGER "config_version_no_delete" BEFORE DELETE ON "{TABLE}" {refuse}',
            # INSERT OR REPLACE deletes the old row without firing its delete trigger.
            f'CREATE TRIGGER "config_version_no_replace" BEFORE INSERT ON "{TABLE}" WHEN EXISTS ({exists}) {refuse}',
        ]
    changed = (
        f"({', '.join(f'NEW.{n}' for n in AUTHORED)}) IS DISTINCT FROM ({', '.join(f'OLD.{n}' for n in AUTHORED)})"
    )
    resigned = f"({', '.join(f'NEW.{n}' for n in SIGNED)}) IS DISTINCT FROM ({', '.join(f'OLD.{n}' for n in SIGNED)})"
    return [
        "CREATE OR REPLACE FUNCTION config_version_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER config_version_no_change BEFORE UPDATE ON {TABLE} FOR EACH ROW"
        f" WHEN ({changed} OR (OLD.signed_at IS NOT NULL AND {resigned})) EXECUTE FUNCTION config_version_refuse()",
        f"CREATE TRIGGER config_version_no_delete BEFORE DELETE OR TRUNCATE ON {TABLE} FOR EACH STATEMENT"
        " EXECUTE FUNCTION config_version_refuse()",
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER config_version_no_change",
        f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER config_version_no_delete",
    ]


def remove_statements(vendor: str) -> list[str]:
    """What undoes ``install_statements``."""
    names = ("config_version_no_change", "config_version_no_delete", "config_version_no_replace")
    if vendor == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{name}"' for name in names]
    return [f"DROP TRIGGER IF EXISTS {name} ON {TABLE}" for name in names]


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: (re-)install every trigger."""
    vendor = schema_editor.connection.vendor
    for statement in remove_statements(vendor) + install_statements(vendor):
        schema_editor.execute(statement)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: the way back."""
    for statement in remove_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement)
