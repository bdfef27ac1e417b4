"""An action whose event cannot be written does not happen. Every registered action, and nothing in its way but the
database: a trigger refuses the event."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection
from pytest_django import Settings

from audit.actions import ACTIONS
from audit.authorizer import suspended
from audit.models import Event
from tests.broker.keyspace import dump
from tests.events.happenings import HAPPENINGS, OWN, READ_ON, REQUESTS, Act
from tests.events.world import World


def test_the_table_has_every_action_once() -> None:
    assert HAPPENINGS.keys() == ACTIONS.keys() and not OWN.keys() & REQUESTS.keys()


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_without_its_event_an_action_does_not_happen(
    world: World, action: str, settings: Settings, tmp_path: Path
) -> None:
    settings.POOLWARDEN_HOME = tmp_path
    act = HAPPENINGS[action](world)
    before = everything(world, tmp_path, broker=action not in READ_ON)
    with refused(action):
        assert fails(act)
    assert everything(world, tmp_path, broker=action not in READ_ON) == before
    known = Event.objects.latest("pk").pk
    act()
    after = Event.objects.filter(pk__gt=known)
    assert action in set(after.values_list("action", flat=True)), "without the fault it happens, and is told"


@contextmanager
def refused(action: str) -> Iterator[None]:
    """The database takes every event but those of ``action``."""
    made, dropped = STATEMENTS[connection.vendor]
    execute(*(statement.format(action=action) for statement in made))
    try:
        yield
    finally:
        execute(*dropped)


STATEMENTS: dict[str, tuple[list[str], list[str]]] = {
    "sqlite": (
        [
            "CREATE TRIGGER fault BEFORE INSERT ON audit_event WHEN NEW.action = '{action}'"
            " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        ],
        ["DROP TRIGGER fault"],
    ),
    "postgresql": (
        [
            "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$",
            "CREATE TRIGGER fault BEFORE INSERT ON audit_event FOR EACH ROW WHEN (NEW.action = '{action}')"
            " EXECUTE FUNCTION fault()",
        ],
        ["DROP TRIGGER fault ON audit_event", "DROP FUNCTION fault()"],
    ),
}


def execute(*statements: str) -> None:
    with suspended(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def fails(act: Act) -> bool:
    """Whether it ended in the database's error, or in a page that says that nothing was done."""
    try:
        answer: Any = act()
    except DatabaseError as error:
        return "the disk is full" in str(error)
    return getattr(answer, "status_code", 0) in (409, 500, 503)


def everything(world: World, home: Path, *, broker: bool) -> dict[str, Any]:
    """Every row of every table, the broker's keys, and the files of the home."""
    tables = set(connection.introspection.table_names())
    models = [model for model in apps.get_models() if model._meta.db_table in tables]
    rows = {model._meta.db_table: list(model.objects.order_by("pk").values()) for model in models}  # type: ignore[attr-defined]
    assert len(rows) > 40
    files = {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file() and path.parent.name == "keys"}
    return rows | files | ({"broker": dump(world.client)} if broker else {})
