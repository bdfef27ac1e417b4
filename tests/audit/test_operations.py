from typing import Any

import pytest
from django.contrib.auth.models import Permission

from audit import operations
from audit.actor import Actor
from audit.merkle import leaf_hash
from audit.models import CheckpointRequest, Event, Export, Personal, SavedFilter
from audit.permissions import Denied
from audit.recorder import AuditError
from audit.selectors import Filters
from controlplane.saved_queries import SAVED_EACH
from pools.permissions import GLOBAL_GRANTS, ROLE_GRANTS
from tests.audit.cast import actor_for, logged
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db


@pytest.fixture
def eraser(django_user_model: Any) -> Actor:
    """May read the log and erase personal values from it."""
    person = django_user_model.objects.create_user("edna")
    person.user_permissions.add(*Permission.objects.filter(codename__in=("view_event", "erase_personal")))
    return actor_for(person)


def erase(actor: Actor, **fields: Any) -> int:
    return operations.erase_personal(
        **{"actor": actor, "index": 0, "field": "", "everywhere": False, "reason": "She asked for it"} | fields
    )


def left() -> list[tuple[int, str, str]]:
    """(index, field, value) of what the log's events still have."""
    rows = Personal.objects.filter(event__placed__isnull=False).order_by("event", "field")
    return list(rows.values_list("event__placed__index", "field", "value"))


@pytest.fixture
def log() -> None:
    """Ana from one address and session, twice; Bob from the same address."""
    logged()
    logged()
    logged(actor=Actor(kind="user", id="8", name="Bob", address="10.8.4.21", session="bb"))


def test_one_value_of_one_event(log: None, eraser: Actor) -> None:
    assert erase(eraser, field="address") == 1
    assert [row[:2] for row in left()] == [
        (0, "session"),
        (1, "address"),
        (1, "session"),
        (2, "address"),
        (2, "session"),
    ]


def test_all_values_of_one_event(log: None, eraser: Actor) -> None:
    assert erase(eraser) == 2
    assert {row[0] for row in left()} == {1, 2}


def test_one_value_everywhere(log: None, eraser: Actor) -> None:
    assert erase(eraser, field="address", everywhere=True) == 3
    assert left() == [(0, "session", "5c1e0a9b"), (1, "session", "5c1e0a9b"), (2, "session", "bb")]
    assert Event.objects.latest("id").detail == {"values": 3, "events": 3, "fields": ["address"]}


def test_every_value_of_an_event_everywhere(log: None, eraser: Actor) -> None:
    assert erase(eraser, everywhere=True) == 5
    assert left() == [(2, "session", "bb")]


def test_the_leaf_and_its_hash_stay_as_they_were(log: None, eraser: Actor) -> None:
    before = Event.objects.get(placed__index=0)
    erase(eraser)
    after = Event.objects.get(placed__index=0)
    assert bytes(after.leaf) == bytes(before.leaf) and leaf_hash(bytes(after.leaf)) == bytes(after.placed.hash)


def test_the_event_of_an_erasure_holds_no_value(log: None, eraser: Actor) -> None:
    erase(eraser, everywhere=True)
    event = Event.objects.latest("id")
    assert (event.action, event.outcome, event.target_name) == ("audit.personal_erased", "done", "event 0")
    assert event.reason == "She asked for it"
    assert b"10.8.4.21" not in bytes(event.leaf) and b"5c1e0a9b" not in bytes(event.leaf)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": "  "}, "reason"),
        ({"reason": "she was at 10.8.4.21"}, "reason"),
        ({"reason": "x" * 2001}, "reason"),
        ({"field": "name"}, "field"),
    ],
)
def test_an_erasure_that_cannot_be_changes_nothing(log: None, eraser: Actor, fields: Any, field: str) -> None:
    with pytest.raises(AuditError) as refused:
        erase(eraser, **fields)
    assert refused.value.field == field and len(left()) == 6 and Event.objects.count() == 3


def test_what_is_erased_cannot_be_erased_again(log: None, eraser: Actor) -> None:
    erase(eraser)
    with pytest.raises(AuditError, match="nothing left"):
        erase(eraser)


def test_an_erasure_whose_event_cannot_be_written_does_not_happen(
    log: None, eraser: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(operations, "record", broken)
    with pytest.raises(OSError, match="disk"):
        erase(eraser)
    assert len(left()) == 6


def test_an_event_that_is_not_there(log: None, eraser: Actor) -> None:
    with pytest.raises(Event.DoesNotExist):
        erase(eraser, index=99)


def test_an_auditor_may_not_erase_and_it_is_recorded(log: None, auditor: Any) -> None:
    with pytest.raises(Denied, match=r"audit\.erase_personal"):
        erase(actor_for(auditor))
    assert len(left()) == 6
    event = Event.objects.latest("id")
    assert (event.action, event.outcome) == ("audit.personal_erased", "denied")
    assert event.detail == {"permission": "audit.erase_personal"} and event.reason == "She asked for it"


def test_an_export_is_asked_for(auditor: Any) -> None:
    export = operations.request_export(
        actor=actor_for(auditor), kind="jsonl", filters=Filters(pool="payments"), personal=True, reason=" The audit "
    )
    assert Export.objects.get() == export and export.reason == "The audit"
    assert Filters.from_dict(export.filters) == Filters(pool="payments") and export.filters["personal"] is True
    assert CheckpointRequest.objects.exists()
    event = Event.objects.latest("id")
    assert (event.action, event.outcome, event.reason) == ("audit.export_requested", "intent", "The audit")
    assert event.detail == {"kind": "jsonl", "personal": True, "filters": {"pool": "payments"}}


def test_nobody_asks_for_exports_without_end(auditor: Any, eraser: Actor) -> None:
    wanted: dict[str, Any] = {"kind": "csv", "filters": Filters(), "personal": False, "reason": "x"}
    for _ in range(operations.UNFINISHED_EACH):
        operations.request_export(actor=actor_for(auditor), **wanted)
    with pytest.raises(AuditError, match="not done yet"):
        operations.request_export(actor=actor_for(auditor), **wanted)
    operations.request_export(actor=eraser, **wanted)
    Export.objects.filter(actor__id=str(auditor.pk)).update(state="done")
    operations.request_export(actor=actor_for(auditor), **wanted)


@pytest.mark.parametrize("verb", ["request_export", "save_filter", "delete_filter", "request_checkpoint"])
def test_an_outsider_is_refused_and_it_is_recorded(outsider: Any, verb: str) -> None:
    wanted: dict[str, dict[str, Any]] = {
        "request_export": {"kind": "csv", "filters": Filters(), "personal": False, "reason": "x"},
        "save_filter": {"name": "mine", "query": "pool=payments"},
        "delete_filter": {"pk": 1},
        "request_checkpoint": {},
    }
    with pytest.raises(Denied, match=r"audit\.view_event"):
        getattr(operations, verb)(actor=actor_for(outsider), **wanted[verb])
    ((_, outcome, _),) = recent_actions(1)
    assert outcome == "denied" and Event.objects.count() == 1
    assert not any(model.objects.exists() for model in (Export, SavedFilter, CheckpointRequest))


def test_a_filter_saved_again_under_its_name_is_replaced(auditor: Any) -> None:
    for query in ("pool=payments", "pool=media"):
        operations.save_filter(actor=actor_for(auditor), name="mine", query=query)
    assert [row.query for row in SavedFilter.objects.all()] == ["pool=media"]
    assert Event.objects.count() == 2


def test_nobody_saves_filters_without_end(auditor: Any) -> None:
    owner = str(auditor.pk)
    SavedFilter.objects.bulk_create(
        SavedFilter(owner_id=owner, name=str(number), query="pool=x") for number in range(SAVED_EACH)
    )
    with pytest.raises(AuditError, match="delete one first"):
        operations.save_filter(actor=actor_for(auditor), name="one more", query="pool=x")
    operations.save_filter(actor=actor_for(auditor), name="7", query="pool=y")


def test_an_auditors_role_holds_the_right_to_look_and_no_other() -> None:
    assert ROLE_GRANTS["auditor"] == ("view_pool",) and GLOBAL_GRANTS["auditor"] == ("audit.view_event",)
    assert {role for role, held in GLOBAL_GRANTS.items() if "audit.view_event" in held} == {"auditor", "admin"}
    assert {role for role, held in GLOBAL_GRANTS.items() if "audit.erase_personal" in held} == {"admin"}
