"""The triggers alone. Each statement of the hostile list is refused, and the log is afterwards what it was."""

from collections.abc import Iterator

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from audit.authorizer import suspended
from audit.models import Event, Leaf
from audit.protection import check
from tests.audit import hostile
from tests.audit.cast import logged

HOSTILE = hostile.EVERYWHERE + (hostile.SQLITE if connection.vendor == "sqlite" else hostile.POSTGRESQL)


@pytest.fixture(autouse=True)
def triggers_alone() -> Iterator[None]:
    with suspended():
        yield


def contents() -> list[list[str]]:
    return [
        [repr(row) for row in model.objects.order_by("pk").values()]
        for model in apps.get_app_config("audit").get_models()
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", HOSTILE)
def test_hostile_sql_is_refused(statement: str) -> None:
    hostile.prepare()
    before = contents()
    connection.check_constraints()  # as after a commit: PostgreSQL truncates no table with checks outstanding

    refused = pytest.raises(DatabaseError, match=r"append-only|leaves the pending table|UNIQUE|unique")
    with refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert contents() == before


@pytest.mark.django_db
def test_the_orm_cannot_rewrite_either() -> None:
    event = logged()
    event.reason = "another reason"
    for attempt in (event.save, event.delete, lambda: Event.objects.update(reason="x"), Leaf.objects.all().delete):
        with pytest.raises(DatabaseError), transaction.atomic():
            attempt()


@pytest.mark.django_db(transaction=True)
def test_the_triggers_are_back_after_a_transactional_test() -> None:
    """The flush before this test and the one after it run without them; nothing else does."""
    with transaction.atomic():
        logged()
    with pytest.raises(DatabaseError), transaction.atomic():
        Event.objects.update(reason="x")


@pytest.mark.django_db(transaction=True)
def test_the_triggers_are_there_on_the_way_back_too() -> None:
    """A migration that rebuilds a table on SQLite loses its triggers."""
    whole = check()
    try:
        call_command("migrate", "audit", "0005", verbosity=0)
        assert check() == whole
    finally:
        call_command("migrate", "audit", verbosity=0)
    assert check() == whole
