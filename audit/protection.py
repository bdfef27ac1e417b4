"""What weakens the log's protection, in sentences; found from the database's own catalogue.

Strong means: even somebody who has the application's password cannot change what is in the log. Whoever administers the
database always can, and SQLite's file has no owner but the file system; that is what checkpoints outside are for.
"""

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from audit import conditions, privileges
from audit.actor import system_actor
from audit.immutability import POSTGRESQL_TRIGGERS, postgresql_functions, sqlite_triggers
from audit.recorder import record
from audit.target import Target

ON_SQLITE = "On SQLite, whoever can write the database file can change the log."
_KINDS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}


def look() -> list[str]:
    """Find the weaknesses, keep them as a condition, and record an event when they are news."""
    found = check()
    with transaction.atomic():
        why = " ".join(found)
        if conditions.report(conditions.PROTECTION, good=not found, detail=why) and found:
            record(
                actor=system_actor("controller"),
                action="log.protection_weak",
                target=Target(kind="log", id="protection", name="audit log"),
                detail={"why": why},
            )
    return found


def check() -> list[str]:
    """One sentence a weakness; nothing when the log is protected as well as this database can."""
    with connection.cursor() as cursor:
        return _check_sqlite(cursor) if connection.vendor == "sqlite" else _check_postgresql(cursor)


def _check_sqlite(cursor: CursorWrapper) -> list[str]:
    cursor.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name")
    there = {name: (table, sql) for name, table, sql in cursor.fetchall()}
    expected = sqlite_triggers()
    found = _compared(
        {name: sql for name, (_, sql) in there.items()}, {name: sql for name, (_, sql) in expected.items()}
    )
    tables = privileges.tables()
    found += [
        f"The table {table} has a trigger that is not ours: {name}."
        for name, (table, _) in there.items()
        if table in tables and name not in expected
    ]
    return [*found, ON_SQLITE]


def _compared[T](there: dict[str, T], expected: dict[str, T]) -> list[str]:
    missing = [name for name in expected if name not in there]
    altered = [name for name, made in expected.items() if name in there and there[name] != made]
    return [f"The trigger {name} is missing." for name in missing] + [
        f"The trigger {name} is not as it was made." for name in altered
    ]


def _check_postgresql(cursor: CursorWrapper) -> list[str]:
    cursor.execute("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user")
    role, is_superuser = cursor.fetchone()
    found = _triggers(cursor)
    if is_superuser:
        return [*found, f"The application signs in as {role}, a superuser, who can switch every trigger off."]
    return found + (_owners(cursor, role) or _rights(cursor, role))


def _schema(cursor: CursorWrapper) -> str:
    cursor.execute("SELECT current_schema()")
    return str(cursor.fetchone()[0])


def _triggers(cursor: CursorWrapper) -> list[str]:
    """Each one's table, kind, function and state; each function's source; nothing beside them."""
    cursor.execute(
        """
        SELECT made.tgname, held.relname, made.tgtype, called.proname, made.tgenabled = 'A' AND made.tgqual IS NULL
          FROM pg_trigger AS made JOIN pg_class AS held ON held.oid = made.tgrelid
          JOIN pg_proc AS called ON called.oid = made.tgfoid
         WHERE NOT made.tgisinternal AND held.relnamespace = current_schema()::regnamespace AND held.relname = ANY(%s)
        """,
        [list(privileges.tables())],
    )
    there = {name: (table, kind, function, good) for name, table, kind, function, good in cursor.fetchall()}
    expected = {name: (table, *_kind(body), True) for name, (table, body) in POSTGRESQL_TRIGGERS.items()}
    found = _compared(there, expected)
    found += [
        f"The table {there[name][0]} has a trigger that is not ours: {name}." for name in there if name not in expected
    ]
    functions = postgresql_functions(_schema(cursor))
    cursor.execute(
        "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname = ANY(%s)",
        [list(functions)],
    )
    sources = dict(cursor.fetchall())
    found += [
        f"The function {name} is not as it was made." for name in functions if sources.get(name) != functions[name]
    ]
    cursor.execute(
        "SELECT DISTINCT tablename FROM pg_rules WHERE schemaname = current_schema() AND tablename = ANY(%s)",
        [list(privileges.tables())],
    )
    return found + [f"The table {table} has a rule that rewrites statements." for (table,) in cursor.fetchall()]


def _kind(body: str) -> tuple[int, str]:
    """A trigger's ``tgtype`` and function, from the statement that makes it."""
    when, _, rest = body.partition(" ")
    bits = (2 if when == "BEFORE" else 0) | (1 if "FOR EACH ROW" in body else 0)
    events = rest.partition(" ON ")[0]
    return bits | sum(_KINDS[event] for event in events.split(" OR ")), body.rpartition(" ")[2].removesuffix("()")


def _owners(cursor: CursorWrapper, role: str) -> list[str]:
    cursor.execute(
        """
        SELECT DISTINCT owner.rolname, pg_has_role(current_user, owner.oid, 'MEMBER'), owner.rolcanlogin
          FROM pg_class AS held JOIN pg_roles AS owner ON owner.oid = held.relowner
         WHERE held.relnamespace = current_schema()::regnamespace AND held.relname = ANY(%s)
        """,
        [list(privileges.tables())],
    )
    found = []
    for owner, is_ours, can_sign_in in cursor.fetchall():
        if is_ours:
            found.append(
                f"The application signs in as {role}, which owns the log's tables and can drop their triggers."
            )
        elif can_sign_in:
            found.append(f"The owner of the log's tables, {owner}, can sign in.")
    return found


def _rights(cursor: CursorWrapper, role: str) -> list[str]:
    """Privileges beyond those that ``privileges.grant`` gives. An owner has them all; that is said already."""
    found = []
    cursor.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')")
    if cursor.fetchone()[0]:
        found.append(f"The role {role} may make tables and functions beside the log's.")
    for table, columns in privileges.tables().items():
        allowed = {"SELECT", "INSERT", *privileges.MORE.get(table, ())}
        cursor.execute(
            """
            SELECT kind FROM unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS kind
             WHERE has_table_privilege(current_schema() || '.' || %s, kind)
            UNION
            SELECT kind FROM unnest(ARRAY['UPDATE', 'REFERENCES']) AS kind
             WHERE has_any_column_privilege(current_schema() || '.' || %s, kind)
            UNION
            SELECT 'INSERT of ' || attname FROM pg_attribute
             WHERE attrelid = (current_schema() || '.' || %s)::regclass AND attnum > 0 AND NOT attisdropped
               AND NOT attname = ANY(%s) AND has_column_privilege(attrelid, attnum, 'INSERT')
            """,
            [table, table, table, columns],
        )
        more = sorted(kind for (kind,) in cursor.fetchall() if kind not in allowed)
        if more:
            found.append(f"The role {role} has more rights on {table} than it needs: {', '.join(more)}.")
    return found
