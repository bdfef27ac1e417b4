"""The triggers that keep events and leaves as they were written. Installed by migrations.

They answer to ``UPDATE``, ``DELETE``, ``TRUNCATE`` and, on SQLite, to ``INSERT OR REPLACE``, which deletes a row
without firing its delete triggers. The database's owner can still drop a trigger: a proof shows that,
a trigger cannot.

SQLite forgets a table's triggers when a migration rebuilds the table, so such a migration ends with ``install``.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

REFUSAL = "the audit log is append-only"

# Columns by which INSERT OR REPLACE could overwrite a row.
_KEYS = {"audit_event": ("id", "uid"), "audit_leaf": ("index", "event_id")}
_PENDING_REFUSAL = "an event leaves the pending table only when it has a leaf"


def _sqlite_triggers() -> dict[str, str]:
    bodies = {}
    for table, keys in _KEYS.items():
        exists = " OR ".join(f'"{key}" = NEW."{key}"' for key in keys)
        refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        bodies[f"{table}_no_update"] = f'BEFORE UPDATE ON "{table}" {refuse}'
        bodies[f"{table}_no_delete"] = f'BEFORE DELETE ON "{table}" {refuse}'
        bodies[f"{table}_no_replace"] = (
            f'BEFORE INSERT ON "{table}" WHEN EXISTS (SELECT 1 FROM "{table}" WHERE {exists}) {refuse}'  # noqa: S608
        )
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_PENDING_REFUSAL}'); END"
    without_leaf = 'WHEN NOT EXISTS (SELECT 1 FROM "audit_leaf" WHERE "event_id" = OLD."event_id")'
    bodies["audit_pending_no_update"] = f'BEFORE UPDATE ON "audit_pending" {refuse}'
    bodies["audit_pending_no_loss"] = f'BEFORE DELETE ON "audit_pending" {without_leaf} {refuse}'
    return bodies


_POSTGRESQL_FUNCTIONS = (
    f"""
    CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    f"""
    CREATE OR REPLACE FUNCTION audit_keep_pending() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            IF EXISTS (SELECT 1 FROM audit_leaf WHERE event_id = OLD.event_id) THEN RETURN OLD; END IF;
        END IF;
        RAISE EXCEPTION '{_PENDING_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation';
    END $$
    """,  # noqa: S608
)
# Statement-level, so that an attempt that matches no row is refused as well.
_POSTGRESQL_TRIGGERS = {
    "audit_event_append_only": (
        "audit_event",
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_event FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    ),
    "audit_leaf_append_only": (
        "audit_leaf",
        "BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_leaf FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    ),
    "audit_pending_no_loss": (
        "audit_pending",
        "BEFORE UPDATE OR DELETE ON audit_pending FOR EACH ROW EXECUTE FUNCTION audit_keep_pending()",
    ),
    "audit_pending_no_truncate": (
        "audit_pending",
        "BEFORE TRUNCATE ON audit_pending FOR EACH STATEMENT EXECUTE FUNCTION audit_keep_pending()",
    ),
}


def install_statements(vendor: str) -> list[str]:
    """The statements that protect the tables, for ``sqlite`` or ``postgresql``."""
    if vendor == "sqlite":
        return [f'CREATE TRIGGER "{name}" {body}' for name, body in _sqlite_triggers().items()]
    if vendor != "postgresql":
        raise NotImplementedError(f"The audit log has no protection for {vendor}: use SQLite or PostgreSQL.")
    statements = list(_POSTGRESQL_FUNCTIONS)
    for name, (table, body) in _POSTGRESQL_TRIGGERS.items():
        # ALWAYS: session_replication_role = replica does not switch it off.
        statements += [f"CREATE TRIGGER {name} {body}", f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"]
    return statements


def remove_statements(vendor: str) -> list[str]:
    """The statements that undo ``install_statements``; a migration that goes back runs them."""
    if vendor == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{name}"' for name in _sqlite_triggers()]
    return [f"DROP TRIGGER IF EXISTS {name} ON {table}" for name, (table, _) in _POSTGRESQL_TRIGGERS.items()]


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: (re-)install every trigger."""
    vendor = schema_editor.connection.vendor
    for statement in remove_statements(vendor) + install_statements(vendor):
        schema_editor.execute(statement)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: the way back."""
    for statement in remove_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement)
