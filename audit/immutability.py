"""The triggers that keep events and leaves as they were written, and mark each new event as pending. Installed by
migrations.

They answer to ``UPDATE``, ``DELETE``, ``TRUNCATE`` and, on SQLite, to ``INSERT OR REPLACE``, which deletes a row
without firing its delete triggers. The database's owner can still drop a trigger: a proof shows that,
a trigger cannot.

SQLite forgets a table's triggers when a migration rebuilds the table, so such a migration ends with ``install``.
"""

from collections.abc import Collection

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

REFUSAL = "the audit log is append-only"

# Columns by which INSERT OR REPLACE could overwrite a row.
KEPT = {
    "audit_event": (("id",), ("uid",)),
    "audit_leaf": (("index",), ("event_id",)),
    "audit_node": (("id",), ("level", "index")),
    "audit_checkpoint": (("size",),),
    "audit_cosignature": (("id",), ("checkpoint_id", "witness")),
}
ERASABLE = {"audit_personal": (("id",), ("event_id", "field"))}
_PENDING_REFUSAL = "an event leaves the pending table only when it has a leaf"


def sqlite_triggers() -> dict[str, tuple[str, str]]:
    """Name → table and the statement that makes it."""
    bodies = {}
    for table, keys in (KEPT | ERASABLE).items():
        exists = " OR ".join("(" + " AND ".join(f'"{part}" = NEW."{part}"' for part in key) + ")" for key in keys)
        refuse = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        bodies[f"{table}_no_update"] = (table, f'BEFORE UPDATE ON "{table}" {refuse}')
        if table not in ERASABLE:
            bodies[f"{table}_no_delete"] = (table, f'BEFORE DELETE ON "{table}" {refuse}')
        bodies[f"{table}_no_replace"] = (
            table,
            f'BEFORE INSERT ON "{table}" WHEN EXISTS (SELECT 1 FROM "{table}" WHERE {exists}) {refuse}',  # noqa: S608
        )
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_PENDING_REFUSAL}'); END"
    without_leaf = 'WHEN NOT EXISTS (SELECT 1 FROM "audit_leaf" WHERE "event_id" = OLD."event_id")'
    pending = "audit_pending"
    bodies["audit_pending_no_update"] = (pending, f'BEFORE UPDATE ON "{pending}" {refuse}')
    bodies["audit_pending_no_loss"] = (pending, f'BEFORE DELETE ON "{pending}" {without_leaf} {refuse}')
    bodies["audit_event_waits"] = (
        "audit_event",
        f'AFTER INSERT ON "audit_event" BEGIN INSERT OR IGNORE INTO "{pending}" ("event_id") VALUES (NEW."id"); END',  # noqa: S608
    )
    return {name: (table, f'CREATE TRIGGER "{name}" {body}') for name, (table, body) in bodies.items()}


def postgresql_functions(schema: str) -> dict[str, str]:
    """Name → source. What a caller puts on its search path, temporary tables among it, must not be taken for ours."""
    return {
        "audit_refuse": f"BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END",
        "audit_keep_pending": f"""
            BEGIN
                IF TG_OP = 'DELETE' THEN
                    IF EXISTS (SELECT FROM "{schema}".audit_leaf WHERE event_id = OLD.event_id) THEN
                        RETURN OLD;
                    END IF;
                END IF;
                RAISE EXCEPTION '{_PENDING_REFUSAL}' USING ERRCODE = 'integrity_constraint_violation';
            END
        """,
        "audit_wait": f"""
            BEGIN
                INSERT INTO "{schema}".audit_pending (event_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
                RETURN NULL;
            END
        """,  # noqa: S608
    }


# Statement-level, so that an attempt that matches no row is refused as well.
POSTGRESQL_TRIGGERS = {
    **{
        f"{table}_append_only": (
            table,
            f"BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
        )
        for table in KEPT
    },
    **{
        f"{table}_erase_only": (
            table,
            f"BEFORE UPDATE OR TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
        )
        for table in ERASABLE
    },
    "audit_pending_no_loss": (
        "audit_pending",
        "BEFORE UPDATE OR DELETE ON audit_pending FOR EACH ROW EXECUTE FUNCTION audit_keep_pending()",
    ),
    "audit_event_waits": (
        "audit_event",
        "AFTER INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_wait()",
    ),
    "audit_pending_no_truncate": (
        "audit_pending",
        "BEFORE TRUNCATE ON audit_pending FOR EACH STATEMENT EXECUTE FUNCTION audit_keep_pending()",
    ),
}


def install_statements(vendor: str, tables: Collection[str], schema: str = "public") -> list[str]:
    """The statements that protect those of ``tables`` that are the log's, for ``sqlite`` or ``postgresql``."""
    if vendor == "sqlite":
        return [statement for table, statement in sqlite_triggers().values() if table in tables]
    if vendor != "postgresql":
        raise NotImplementedError(f"The audit log has no protection for {vendor}: use SQLite or PostgreSQL.")
    statements = [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql"
        f" SET search_path = pg_catalog, pg_temp AS $${source}$$"
        for name, source in postgresql_functions(schema).items()
    ]
    for name, (table, body) in POSTGRESQL_TRIGGERS.items():
        if table in tables:
            # ALWAYS: session_replication_role = replica does not switch it off.
            statements += [f"CREATE TRIGGER {name} {body}", f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"]
    return statements


def remove_statements(vendor: str, tables: Collection[str]) -> list[str]:
    """The statements that undo ``install_statements``; a migration that goes back runs them."""
    if vendor == "sqlite":
        return [f'DROP TRIGGER IF EXISTS "{name}"' for name in sqlite_triggers()]
    return [
        f"DROP TRIGGER IF EXISTS {name} ON {table}"
        for name, (table, _) in POSTGRESQL_TRIGGERS.items()
        if table in tables
    ]


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: (re-)install the triggers of every table that is there."""
    vendor, tables = schema_editor.connection.vendor, _tables(schema_editor)
    schema = _schema(schema_editor) if vendor == "postgresql" else ""
    for statement in remove_statements(vendor, tables) + install_statements(vendor, tables, schema):
        schema_editor.execute(statement)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: the way back."""
    for statement in remove_statements(schema_editor.connection.vendor, _tables(schema_editor)):
        schema_editor.execute(statement)


def _tables(schema_editor: BaseDatabaseSchemaEditor) -> list[str]:
    with schema_editor.connection.cursor() as cursor:
        return schema_editor.connection.introspection.table_names(cursor)


def _schema(schema_editor: BaseDatabaseSchemaEditor) -> str:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        return str(cursor.fetchone()[0])
