"""A list of hostile SQL. Each statement is refused, and the log is afterwards what it was."""

import pytest
from django.db import DatabaseError, connection, transaction

from audit.models import Event, Leaf, Pending
from tests.audit.cast import happened, logged

EVENT_COLUMNS = ", ".join(f'"{field.column}"' for field in Event._meta.concrete_fields)
REPLACED = EVENT_COLUMNS.replace('"actor_name"', "'Mallory'")
SAME_UID = REPLACED.replace('"id"', "id + 100")

EVERYWHERE = [
    "UPDATE audit_event SET actor_name = 'Mallory'",
    "UPDATE audit_event SET leaf = leaf",
    "UPDATE audit_event SET id = id + 100",
    "DELETE FROM audit_event",
    "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf)",
    "UPDATE audit_leaf SET hash = hash",
    'UPDATE audit_leaf SET "index" = "index" + 1',
    "UPDATE audit_leaf SET event_id = event_id",
    "DELETE FROM audit_leaf",
    'DELETE FROM audit_leaf WHERE "index" = (SELECT MAX("index") FROM audit_leaf)',
    'INSERT INTO audit_leaf ("index", event_id, hash) SELECT "index", event_id, hash FROM audit_leaf',
    'INSERT INTO audit_leaf ("index", event_id, hash) SELECT "index" + 1, event_id, hash FROM audit_leaf',
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) SELECT {REPLACED} FROM audit_event",
    "DELETE FROM audit_pending",
    "UPDATE audit_pending SET event_id = event_id",
]
SQLITE = [
    f"INSERT OR REPLACE INTO audit_event ({EVENT_COLUMNS}) SELECT {REPLACED} FROM audit_event",
    f"REPLACE INTO audit_event ({EVENT_COLUMNS}) SELECT {REPLACED} FROM audit_event",
    f"INSERT OR REPLACE INTO audit_event ({EVENT_COLUMNS}) SELECT {SAME_UID} FROM audit_event",
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) SELECT {REPLACED} FROM audit_event WHERE true "
    "ON CONFLICT (id) DO UPDATE SET actor_name = 'Mallory'",
    'INSERT OR REPLACE INTO audit_leaf ("index", event_id, hash) SELECT "index", event_id, x\'00\' FROM audit_leaf',
    'INSERT OR REPLACE INTO audit_leaf ("index", event_id, hash) SELECT "index" + 9, event_id, hash FROM audit_leaf',
    "UPDATE OR REPLACE audit_event SET id = 1",
    "UPDATE OR IGNORE audit_leaf SET hash = x'00'",
]
POSTGRESQL = [
    "TRUNCATE audit_event CASCADE",
    "TRUNCATE audit_leaf",
    "TRUNCATE audit_pending",
    "TRUNCATE audit_event, audit_leaf, audit_pending RESTART IDENTITY",
    "UPDATE audit_event SET actor_name = 'Mallory' WHERE false",
    "SET LOCAL session_replication_role = replica; DELETE FROM audit_leaf",
    "SET LOCAL session_replication_role = replica; TRUNCATE audit_leaf",
    "WITH gone AS (DELETE FROM audit_leaf RETURNING *) SELECT * FROM gone",
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) OVERRIDING SYSTEM VALUE SELECT {EVENT_COLUMNS} FROM audit_event "
    "ON CONFLICT (id) DO UPDATE SET actor_name = 'Mallory'",
    "MERGE INTO audit_event e USING audit_leaf l ON e.id = l.event_id WHEN MATCHED THEN DELETE",
]
HOSTILE = EVERYWHERE + (SQLITE if connection.vendor == "sqlite" else POSTGRESQL)


def contents() -> list[list[object]]:
    return [[repr(row) for row in model.objects.order_by("pk").values()] for model in (Event, Leaf, Pending)]


@pytest.mark.django_db
@pytest.mark.parametrize("statement", HOSTILE)
def test_hostile_sql_is_refused(statement: str) -> None:
    logged(reason="the past")
    happened(reason="not yet in the log")
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
