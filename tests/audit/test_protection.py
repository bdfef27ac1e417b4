"""As the application: nothing on the hostile list does anything. And a weaker protection is seen and told."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction
from psycopg import sql

from audit import protection
from audit.authorizer import suspended
from audit.models import Condition, Event
from tests.audit import hostile

ON_SQLITE = hostile.EVERYWHERE + hostile.SQLITE + hostile.SQLITE_SCHEMA


def contents() -> list[list[str]]:
    models = apps.get_app_config("audit").get_models()
    return [[repr(row) for row in model.objects.order_by("pk").values()] for model in models]


def schema() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master UNION ALL SELECT name, sql FROM sqlite_temp_master")
        return list(cursor.fetchall())


@pytest.mark.django_db
@pytest.mark.sqlite
@pytest.mark.parametrize("statement", ON_SQLITE)
def test_hostile_sql_is_refused_on_sqlite(statement: str) -> None:
    hostile.prepare()
    before = contents(), schema()
    refused = pytest.raises(
        DatabaseError, match=r"not authorized|prohibited|append-only|leaves the pending|may not be modified|UNIQUE"
    )
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert (contents(), schema()) == before


class Installation(NamedTuple):
    """A database as docs/production.md has it: URLs of its administrator and of the application."""

    admin: str
    app: str
    owner: str
    role: str


def as_app(installation: Installation, script: str) -> str:
    """What ``script`` prints, run as the application in a process of its own."""
    environ = os.environ | {
        "POOLWARDEN_DATABASE_URL": installation.app,
        "POOLWARDEN_DATABASE_OWNER": installation.owner,
        "POOLWARDEN_DATABASE_ROLE": installation.role,
    }
    command = [sys.executable, "-c", f"import django; django.setup()\n{script}"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    server = urlsplit(os.environ["POOLWARDEN_DATABASE_URL"])
    tail = uuid.uuid4().hex[:12]
    owner, role, migrator, database = (f"{name}_{tail}" for name in ("owner", "app", "migrate", "log"))
    names = {name: sql.Identifier(name) for name in (owner, role, migrator, database)}

    def url(user: str | None) -> str:
        return server._replace(
            netloc=f"{user or server.username}@{server.hostname}:{server.port}", path=f"/{database}"
        ).geturl()

    with psycopg.connect(server.geturl(), autocommit=True) as control:
        # As in docs/production.md.
        control.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(names[owner]))
        control.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(names[migrator], names[owner]))
        control.execute(sql.SQL("CREATE ROLE {} LOGIN").format(names[role]))
        control.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(names[database], names[owner]))
        made = Installation(url(None), url(role), owner, role)
        try:
            migrate = "from django.core.management import call_command; call_command('migrate', verbosity=0)"
            for _ in range(2):  # a second one changes nothing
                as_app(made._replace(app=url(migrator)), migrate)
            yield made
        finally:
            control.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(names[database]))
            for name in (role, migrator, owner):
                control.execute(sql.SQL("DROP ROLE {}").format(names[name]))


@pytest.fixture(scope="module")
def used(installation: Installation) -> Installation:
    as_app(
        installation,
        "from django.db import transaction\n"
        "from tests.audit.hostile import prepare\n"
        "with transaction.atomic(): prepare()",
    )
    return installation


def stored(url: str) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(url) as reader:
        tables = [str(model._meta.db_table) for model in apps.get_app_config("audit").get_models()]
        select = sql.SQL("SELECT * FROM {} ORDER BY 1")
        return [reader.execute(select.format(sql.Identifier(table))).fetchall() for table in tables]


@pytest.mark.postgresql
@pytest.mark.parametrize("statement", hostile.EVERYWHERE + hostile.POSTGRESQL + hostile.POSTGRESQL_ROLE)
def test_hostile_sql_is_refused_on_postgresql(used: Installation, statement: str) -> None:
    before = stored(used.admin)
    with psycopg.connect(used.app, autocommit=True) as hand, pytest.raises(psycopg.DatabaseError):
        hand.execute(statement.format(owner=used.owner).encode())
    assert stored(used.admin) == before


WORK = """
import json
from pathlib import Path
from django.db import transaction
from audit import protection
from audit.anchors import FileAnchor
from audit.checkpointer import Checkpointer
from audit.models import CheckpointRequest, Personal
from audit.sequencer import Sequencer
from tests.audit.cast import LOG_KEY, happened

with transaction.atomic():
    event = happened()
Sequencer().tick()
CheckpointRequest.objects.create()
signed = Checkpointer(LOG_KEY, [FileAnchor(Path({anchor!r}))], [], interval=0).tick()
erased, _ = Personal.objects.filter(event=event).delete()
print(json.dumps([signed, erased, protection.look()]))
"""


@pytest.mark.postgresql
def test_the_application_can_do_its_work_and_finds_nothing_weak(installation: Installation, tmp_path: object) -> None:
    signed, erased, weak = json.loads(as_app(installation, WORK.format(anchor=f"{tmp_path}/checkpoints")))
    assert signed >= 1 and erased == 2 and weak == []


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("weaken", "sentence"),
    [
        ("GRANT UPDATE (reason) ON audit_event TO {role}", "audit_event than it needs: UPDATE"),
        ("GRANT TRUNCATE, DELETE ON audit_leaf TO {role}", "audit_leaf than it needs: DELETE, TRUNCATE"),
        ("GRANT INSERT (id) ON audit_event TO {role}", "INSERT of id"),
        ("GRANT CREATE ON SCHEMA public TO {role}", "may make tables and functions"),
        ("GRANT {owner} TO {role}", "which owns the log's tables"),
        ("ALTER ROLE {role} SUPERUSER", "a superuser"),
        ("ALTER ROLE {owner} LOGIN", "can sign in"),
    ],
)
def test_a_role_that_may_more_is_named(installation: Installation, weaken: str, sentence: str) -> None:
    check = "import json; from audit import protection; print(json.dumps(protection.check()))"
    roles = {"role": installation.role, "owner": installation.owner}
    mend = weaken.replace("GRANT", "REVOKE").replace(" TO ", " FROM ").replace(" LOGIN", " NOLOGIN")
    mend = mend.replace(" SUPERUSER", " NOSUPERUSER")
    with psycopg.connect(installation.admin, autocommit=True) as control:
        control.execute(weaken.format(**roles).encode())
        try:
            found = json.loads(as_app(installation, check))
        finally:
            control.execute(mend.format(**roles).encode())
    assert len(found) == 1 and sentence in found[0]
    assert json.loads(as_app(installation, check)) == []


WEAKENED = {
    "sqlite": [
        ("DROP TRIGGER audit_event_no_update", "The trigger audit_event_no_update is missing."),
        (
            "DROP TRIGGER audit_leaf_no_update; CREATE TRIGGER audit_leaf_no_update BEFORE UPDATE ON audit_leaf "
            "WHEN false BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
            "The trigger audit_leaf_no_update is not as it was made.",
        ),
        (
            "CREATE TRIGGER lose BEFORE INSERT ON audit_event BEGIN SELECT RAISE(IGNORE); END",
            "The table audit_event has a trigger that is not ours: lose.",
        ),
    ],
    "postgresql": [
        ("DROP TRIGGER audit_event_append_only ON audit_event", "The trigger audit_event_append_only is missing."),
        (
            "ALTER TABLE audit_leaf DISABLE TRIGGER audit_leaf_append_only",
            "The trigger audit_leaf_append_only is not as it was made.",
        ),
        (
            "ALTER TABLE audit_leaf ENABLE TRIGGER audit_leaf_append_only",  # that is: not ALWAYS
            "The trigger audit_leaf_append_only is not as it was made.",
        ),
        (
            "DROP TRIGGER audit_leaf_append_only ON audit_leaf; CREATE TRIGGER audit_leaf_append_only BEFORE TRUNCATE "
            "ON audit_leaf EXECUTE FUNCTION audit_refuse(); "
            "ALTER TABLE audit_leaf ENABLE ALWAYS TRIGGER audit_leaf_append_only",
            "The trigger audit_leaf_append_only is not as it was made.",
        ),
        (
            "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
            "The function audit_refuse is not as it was made.",
        ),
        (
            "CREATE TRIGGER lose BEFORE INSERT ON audit_event EXECUTE FUNCTION audit_refuse()",
            "The table audit_event has a trigger that is not ours: lose.",
        ),
        (
            "CREATE RULE lose AS ON INSERT TO audit_node DO INSTEAD NOTHING",
            "The table audit_node has a rule that rewrites statements.",
        ),
    ],
}


@pytest.mark.django_db
@pytest.mark.parametrize(("statements", "sentence"), WEAKENED[connection.vendor])
def test_a_weakened_table_is_named(statements: str, sentence: str) -> None:
    before = protection.check()
    with suspended(), connection.cursor() as cursor:
        for statement in statements.split("; ") if "BEGIN" not in statements else _pair(statements):
            cursor.execute(statement)
    assert set(protection.check()) - set(before) == {sentence}


def _pair(statements: str) -> list[str]:
    """A trigger's body has semicolons of its own."""
    first, separator, rest = statements.partition("; CREATE")
    return [first, f"CREATE{rest}"] if separator else [statements]


@pytest.mark.django_db
def test_what_is_weak_is_told_once_and_again_when_it_is_another() -> None:
    found = protection.look()
    assert found, "neither SQLite nor a superuser is strong"
    assert protection.look() == found
    condition = Condition.objects.get(name="protection")
    assert not condition.good and condition.detail == " ".join(found)
    assert Event.objects.get(action="log.protection_weak").detail == {"why": " ".join(found)}
    with suspended(), connection.cursor() as cursor:
        on_table = "" if connection.vendor == "sqlite" else " ON audit_pending"
        cursor.execute(f"DROP TRIGGER audit_pending_no_loss{on_table}")
    assert len(protection.look()) == len(found) + 1
    assert Event.objects.filter(action="log.protection_weak").count() == 2
