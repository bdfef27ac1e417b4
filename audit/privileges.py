"""PostgreSQL: what the application's role may do with the log's tables.

The tables belong to a role that cannot sign in; ``migrate`` acts as it. The application signs in as another role, which
may read, and insert only those columns that the database does not fill itself.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, models
from django.db.backends.utils import CursorWrapper

MORE = {
    "audit_pending": ("DELETE",),
    "audit_personal": ("DELETE",),
    "audit_checkpointrequest": ("DELETE",),
    "audit_condition": ("UPDATE",),
    "audit_export": ("UPDATE", "DELETE"),
    "audit_savedfilter": ("UPDATE", "DELETE"),
}
"""What the application needs besides SELECT and INSERT."""
READ_ONLY = ("django_migrations",)


def tables() -> dict[str, list[str]]:
    """The log's tables, each with the columns that the application fills."""
    return {
        model._meta.db_table: [
            str(field.column) for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)
        ]
        for model in apps.get_app_config("audit").get_models()
    }


def act_as_owner(alias: str) -> None:
    """What the session makes from here on belongs to the owner; before the first migration. Raises DatabaseError when
    the role that runs ``migrate`` is no member of the owner."""
    if _is_asked_for(alias):
        with connections[alias].cursor() as cursor:
            cursor.execute(f"SET ROLE {_quoted(alias, settings.POOLWARDEN_DATABASE_OWNER)}")


def act_as_oneself(alias: str) -> None:
    if _is_asked_for(alias):
        with connections[alias].cursor() as cursor:
            cursor.execute("RESET ROLE")


def grant(alias: str) -> None:
    """Give the application's role what it needs and take the rest; after the last migration. Twice is once."""
    if _is_asked_for(alias):
        with connections[alias].cursor() as cursor:
            for statement in statements(cursor, alias):
                cursor.execute(statement)


def statements(cursor: CursorWrapper, alias: str) -> list[str]:
    """For every table of the schema that the connection works in."""
    role = _quoted(alias, settings.POOLWARDEN_DATABASE_ROLE)
    logged = tables()
    made = [f"REVOKE ALL ON ALL TABLES IN SCHEMA {_schema(cursor, alias)} FROM PUBLIC, {role}"]
    for table in sorted(connections[alias].introspection.table_names(cursor)):
        on = f"ON {_quoted(alias, table)} TO {role}"
        if table in logged:
            columns = ", ".join(_quoted(alias, column) for column in logged[table])
            made.append(f"GRANT {', '.join(('SELECT', f'INSERT ({columns})', *MORE.get(table, ())))} {on}")
        else:
            made.append(f"GRANT SELECT{'' if table in READ_ONLY else ', INSERT, UPDATE, DELETE'} {on}")
    return made


def _is_asked_for(alias: str) -> bool:
    return connections[alias].vendor == "postgresql" and bool(settings.POOLWARDEN_DATABASE_OWNER)


def _schema(cursor: CursorWrapper, alias: str) -> str:
    cursor.execute("SELECT current_schema()")
    return _quoted(alias, cursor.fetchone()[0])


def _quoted(alias: str, name: Any) -> str:
    return str(connections[alias].ops.quote_name(name))
