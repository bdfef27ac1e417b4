"""Setting aside and restoring over the API, and a pool's limit of requeues."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Event
from pools.models import DeadLetter, DeadLetterState, Operation, OperationState, Outcome, Pool
from tests.api.calling import Caller, problem

WHY = {"reason": "Not now"}


@pytest.fixture
def shelved(letters: list[DeadLetter]) -> list[DeadLetter]:
    """The first is in the trash, the second was there, the third is in the archive."""
    for letter, state, days in zip(letters, ("discarded", "discarded", "archived"), (1, -1, 1), strict=False):
        until = timezone.now() + timedelta(days=days)
        DeadLetter.objects.filter(pk=letter.pk).update(state=state, closed_at=timezone.now(), shelved_until=until)
    return letters


@pytest.mark.parametrize("kind", ["quarantine", "archive"])
def test_setting_aside(alice: Caller, letters: list[DeadLetter], kind: str) -> None:
    made = alice.post("operations", WHY | {"kind": kind, "ids": ["job-0"], "start": False})
    assert made.status_code == 201, made.content
    assert (made.json()["kind"], made.json()["source"], made.json()["frozen_count"]) == (kind, "open", 1)


def test_a_restore_takes_what_is_still_kept(alice: Caller, shelved: list[DeadLetter]) -> None:
    body = WHY | {"kind": "restore", "filter": {"state": "discarded"}, "start": False}
    made = alice.post("operations", body | {"expected_count": 1}).json()
    assert (made["kind"], made["source"], made["frozen_count"]) == ("restore", "discarded", 1)
    assert [item["job_id"] for item in alice.items(f"operations/{made['id']}/items")] == ["job-0"]
    assert alice.post("operations", body | {"expected_count": 2}).status_code == 409


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"filter": {}}, "filter.state"),
        ({"filter": {"state": "gone"}}, "filter.state"),
        ({"filter": {"state": "shelf"}}, "filter.state"),
        ({"filter": {"state": "quarantined"}}, "filter"),
        ({"filter": {"state": "archived", "restorable": "no"}}, "filter.restorable"),
        ({"ids": ["job-1"]}, "ids"),
        ({"filter": {"state": "archived"}, "canary": {"count": 1, "min_success": 1}}, "canary"),
    ],
)
def test_a_restore_of_nothing_says_why(
    alice: Caller, shelved: list[DeadLetter], changes: dict[str, object], field: str
) -> None:
    found = problem(alice.post("operations", WHY | {"kind": "restore"} | changes), 422, field)
    assert "othing was changed" in str(found) and not Operation.objects.exists()


def test_lists_say_until_when(alice: Caller, shelved: list[DeadLetter]) -> None:
    found = alice.items("dead-letters", state="discarded", restorable="yes")
    assert [row["job_id"] for row in found] == ["job-0"] and found[0]["shelved_until"].endswith("Z")
    both = alice.items("dead-letters", state="any", restorable="yes")
    assert {row["job_id"] for row in both} == {"job-0", "job-2"} and both[0]["came_back"] == 0


def test_an_undo_is_a_new_operation(alice: Caller, letters: list[DeadLetter]) -> None:
    made = alice.post("operations", WHY | {"kind": "discard", "ids": ["job-0"]}).json()
    path = f"operations/{made['id']}/undo"
    assert "not over" in problem(alice.post(path, WHY), 409)["detail"]
    row = Operation.objects.get()
    row.items.update(outcome=Outcome.DISCARDED, at=timezone.now())
    Operation.objects.update(state=OperationState.ENDED)
    letter = DeadLetter.objects.filter(job_id="job-0")
    letter.update(state=DeadLetterState.DISCARDED, shelved_until=timezone.now() + timedelta(days=1))
    assert alice.post(path, {"reason": ""}).status_code == 422
    undo = alice.post(path, WHY)
    assert undo.status_code == 201, undo.content
    assert (undo.json()["kind"], undo.json()["frozen_count"]) == ("restore", 1)
    assert undo.json()["id"] != made["id"]


def test_a_pools_limit_is_changed_alone(alice: Caller, payments: Pool) -> None:
    seen = alice.get("pools/payments").json()
    assert (seen["poison_after"], seen["revision"]) == (3, 1)
    changed = alice.post("pools/payments/edit", {"poison_after": 0, "expected_version": 1})
    assert changed.status_code == 200, changed.content
    assert changed.json() == seen | {"poison_after": 0, "revision": 2}
    event = Event.objects.get(action="pool.changed")
    assert (event.before["poison_after"], event.after["poison_after"]) == ("3", "0")
    assert problem(alice.post("pools/payments/edit", {"poison_after": 9, "expected_version": 1}), 409)["current"] == 2
    for value in (-1, 101, "3"):
        problem(alice.post("pools/payments/edit", {"poison_after": value}), 422, "poison_after")
