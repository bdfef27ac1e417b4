import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from pools.models import DeadLetter, DeadLetterState, Operation, OperationItem, OperationState, OutboxMessage, Outcome
from pools.permissions import role_group
from tests.api.calling import Caller, problem
from tests.support import factories as make
from tests.support.cast import Cast


def requeue(**changes: Any) -> dict[str, Any]:
    return {"kind": "requeue", "reason": "The gateway is back"} | changes


def test_jobs_are_named_one_by_one(alice: Caller, letters: list[DeadLetter]) -> None:
    response = alice.post("operations", requeue(ids=["job-2", "job-0", "job-2"]))
    assert response.status_code == 201, response.content
    made = response.json()
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "id": Operation.objects.get().pk,
        "kind": "requeue",
        "state": "running",
        "stage": "sending",
        "reason": "The gateway is back",
        "pools": ["payments"],
        "to_queue": "",
        "source": "open",
        "frozen_count": 2,
        "ids_sha256": hashlib.sha256(b"job-0\njob-2\n").hexdigest(),
        "created_by": "alice",
        "ended_at": None,
        "canary": None,
        "rate_per_second": None,
        "stop_same_failure": None,
        "orphans_stay": False,
        "same_failures": 0,
        "stopped_because": "",
        "recalling": False,
        "again_of": None,
        "approval": None,
        "outcomes": {"pending": 2},
        "effect": None,
        "effect_at": None,
    }
    assert OutboxMessage.objects.get().key == str(made["id"])


def test_jobs_are_found_by_a_filter(alice: Caller, letters: list[DeadLetter]) -> None:
    body = requeue(kind="discard", filter={"pool": "payments", "since": "39m"}, expected_count=1, start=False)
    made = alice.post("operations", body).json()
    assert made["kind"] == "discard" and made["state"] == "frozen" and made["frozen_count"] == 1
    (item,) = alice.items(f"operations/{made['id']}/items")
    first = {"position": 1, "job_id": "job-2", "queue": "payments", "outcome": "pending", "at": None, "effect": ""}
    assert item == first | {"same_failure": None}
    assert not OutboxMessage.objects.exists()


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, ["ids"]),
        ({"ids": []}, ["ids"]),
        ({"ids": ["job-0"], "filter": {}}, ["ids"]),
        ({"ids": ["job-0", "job-x"]}, ["ids"]),
        ({"ids": "job-0"}, ["ids"]),
        ({"ids": [5]}, ["ids.0"]),
        ({"ids": ["a\0b"]}, ["ids.0"]),
        ({"ids": ["x"] * 10_001}, ["ids"]),
        ({"filter": "payments"}, ["filter"]),
        ({"filter": {"pol": "payments"}}, ["filter.pol"]),
        ({"filter": {"state": "any"}}, ["filter.state"]),
        ({"filter": {"pool": None}}, ["filter.pool"]),
        ({"filter": {"q": "\ud800"}}, ["filter.q"]),
        ({"filter": {"q": "x" * 2001}}, ["filter.q"]),
        ({"filter": {"since": "yesterday"}}, ["filter.since"]),
        ({"filter": {"group": "x"}}, ["filter.group"]),
        ({"filter": {"pool": "nothing"}}, ["filter"]),
        ({"ids": ["job-0"], "kind": "explode"}, ["kind"]),
        ({"ids": ["job-0"], "reason": ""}, ["reason"]),
        ({"ids": ["job-0"], "start": "no"}, ["start"]),
        ({"ids": ["job-0"], "kind": "discard", "orphans_stay": True}, ["orphans_stay"]),
        ({"ids": ["job-0"], "expected_count": "1"}, ["expected_count"]),
    ],
)
def test_a_bad_operation_is_refused_by_field(
    alice: Caller, letters: list[DeadLetter], changes: dict[str, Any], fields: list[str]
) -> None:
    problem(alice.post("operations", requeue(**changes)), 422, *fields)
    assert not Operation.objects.exists()


def test_another_count_than_expected_is_a_conflict(alice: Caller, letters: list[DeadLetter]) -> None:
    refused = problem(alice.post("operations", requeue(filter={"pool": "payments"}, expected_count=2)), 409)
    assert refused["current"] == 3 and not Operation.objects.exists() and not OperationItem.objects.exists()


def test_closed_letters_are_not_touched(alice: Caller, letters: list[DeadLetter]) -> None:
    DeadLetter.objects.filter(job_id="job-1").update(state=DeadLetterState.GONE)
    assert alice.post("operations", requeue(ids=["job-0", "job-1"])).json()["frozen_count"] == 1


def test_one_forbidden_pool_forbids_all(cast: Cast, letters: list[DeadLetter]) -> None:
    shown = make.pool(cast.elsewhere, "refunds")
    make.dead_letter(make.failure_group(shown), "job-far")
    cast.alice.groups.add(role_group(cast.elsewhere, "operator"))
    cast.bob.groups.add(role_group(cast.elsewhere, "viewer"))
    body = requeue(filter={})
    assert Caller(cast.alice).post("operations", body | {"start": False}).json()["pools"] == ["payments", "refunds"]
    assert "on refunds" in problem(Caller(cast.bob).post("operations", body), 403)["detail"]
    assert Operation.objects.count() == 1
    problem(Caller(cast.bob).post("operations", requeue(ids=["job-far"])), 403)
    assert len(Caller(cast.vera).items("operations")) == 0


@pytest.mark.parametrize(
    ("state", "verb", "after"),
    [
        ("frozen", "start", "running"),
        ("running", "pause", "paused"),
        ("paused", "resume", "running"),
        ("running", "cancel", "cancelled"),
    ],
)
@pytest.mark.parametrize("body", [None, {}, {"reason": "Because"}])
def test_an_operation_is_moved(
    alice: Caller, operation_in: Callable[[str], Operation], state: str, verb: str, after: str, body: Any
) -> None:
    row = operation_in(state)
    response = alice.post(f"operations/{row.pk}/{verb}", body)
    assert response.status_code == 200, response.content
    moved = response.json()
    assert moved["state"] == after and (moved["ended_at"] is not None) == (after == "cancelled")
    assert moved == alice.get(f"operations/{row.pk}").json()


def test_a_move_that_cannot_be_is_a_conflict(alice: Caller, frozen: Operation) -> None:
    for verb in ("pause", "resume"):
        assert f"cannot {verb}" in problem(alice.post(f"operations/{frozen.pk}/{verb}"), 409)["detail"]
    problem(alice.post(f"operations/{frozen.pk}/start", {"why": "a"}), 422, "why")
    assert Operation.objects.get().state == OperationState.FROZEN


def test_outcomes_add_up(alice: Caller, frozen: Operation) -> None:
    for item, outcome in zip(frozen.items.all(), (Outcome.REQUEUED, Outcome.GONE), strict=False):
        OperationItem.objects.filter(pk=item.pk).update(outcome=outcome, at=make.ago())
    shown = alice.get(f"operations/{frozen.pk}").json()
    assert shown["outcomes"] == {"gone": 1, "pending": 1, "requeued": 1}
    assert alice.items("operations") == [shown]
    (gone,) = alice.items(f"operations/{frozen.pk}/items", outcome="gone")
    assert gone["job_id"] == "job-1" and gone["at"].endswith("Z")
    problem(alice.get(f"operations/{frozen.pk}/items", outcome="lost"), 422, "outcome")


def test_operations_of_hidden_pools_are_missing(alice: Caller, charlie: Caller, frozen: Operation) -> None:
    assert len(alice.items("operations")) == 1 and charlie.items("operations") == []
    for path in (f"operations/{frozen.pk}", f"operations/{frozen.pk}/items"):
        assert alice.get(path).status_code == 200
        problem(charlie.get(path), 404)


def test_a_plan_is_kept_and_its_rate_changed(alice: Caller, letters: list[DeadLetter]) -> None:
    plan = {
        "canary": {"count": 2, "min_success": 90},
        "rate_per_second": 5,
        "stop_same_failure": 10,
        "orphans_stay": True,
    }
    made = alice.post("operations", requeue(ids=["job-0", "job-1", "job-2"]) | plan).json()
    assert made["canary"] == {"count": 2, "min_success": 90, "timeout": 900, "over_at": None, "effect": {}}
    assert (made["stage"], made["rate_per_second"], made["stop_same_failure"]) == ("canary", 5, 10)
    assert made["orphans_stay"]
    path = f"operations/{made['id']}/rate"
    changed = alice.post(path, {"rate_per_second": 50}).json()
    assert changed["rate_per_second"] == 50
    assert alice.post(path, {"rate_per_second": None}).json()["rate_per_second"] is None
    problem(alice.post(path, {"rate_per_second": None}), 422, "rate_per_second")
    problem(alice.post(path, {"rate_per_second": 0}), 422, "rate_per_second")
    problem(alice.post(path, {}), 422, "rate_per_second")


def test_recall_and_again(alice: Caller, frozen: Operation) -> None:
    path = f"operations/{frozen.pk}"
    for verb in ("recall", "again"):
        problem(alice.post(f"{path}/{verb}", {}), 422, "reason")
    assert "still queued" in problem(alice.post(f"{path}/recall", {"reason": "x"}), 409)["detail"]
    problem(alice.post(f"{path}/again", {"reason": "x"}), 422, "ids")
    frozen.items.update(outcome=Outcome.REQUEUED, at=make.ago())
    frozen.items.filter(position=1).update(effect="failed_again")
    first = alice.post(f"{path}/recall", {"reason": "Wrong group"}, key="recall-1")
    assert first.status_code == 200 and first.json()["recalling"] is True, first.content
    assert alice.post(f"{path}/recall", {"reason": "Wrong group"}, key="recall-1").json() == first.json()
    problem(alice.post(f"{path}/recall", {"reason": "Wrong group"}), 409)
    again = alice.post(f"{path}/again", {"reason": "Mended"})
    assert again.status_code == 201, again.content
    made = again.json()
    assert (made["state"], made["frozen_count"], made["again_of"]) == ("frozen", 1, frozen.pk)


def test_outcomes_as_a_file(alice: Caller, charlie: Caller, frozen: Operation) -> None:
    """Safe in a spreadsheet: a queue, a task or an id may be anything."""
    frozen.items.filter(position=1).update(job_id="=cmd()", outcome=Outcome.REQUEUED, effect="failed_again")
    response = alice.get(f"operations/{frozen.pk}/outcomes")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == f'attachment; filename="operation-{frozen.pk}-outcomes.csv"'
    head, first, *_ = response.getvalue().decode().splitlines()
    assert head == "position,job_id,queue,task,outcome,at,effect,same_failure"
    assert first.startswith("1,'=cmd(),payments,") and ",requeued,,failed_again," in first
    lines = alice.get(f"operations/{frozen.pk}/outcomes", format="jsonl").getvalue().decode().splitlines()
    assert len(lines) == frozen.frozen_count and json.loads(lines[0])["job_id"] == "=cmd()"
    problem(alice.get(f"operations/{frozen.pk}/outcomes", format="pdf"), 422, "format")
    problem(charlie.get(f"operations/{frozen.pk}/outcomes"), 404)


def test_jobs_are_moved_to_another_queue(alice: Caller, letters: list[DeadLetter]) -> None:
    body = requeue(kind="move", ids=["job-0", "job-1"])
    problem(alice.post("operations", body), 422, "to_queue")
    problem(alice.post("operations", body | {"to_queue": "nowhere"}), 422, "to_queue")
    problem(alice.post("operations", requeue(ids=["job-0"], to_queue="payments.high")), 422, "to_queue")
    assert not Operation.objects.exists()
    first = alice.post("operations", body | {"to_queue": "payments.high"}, key="move-1")
    assert first.status_code == 201, first.content
    assert alice.post("operations", body | {"to_queue": "payments.high"}, key="move-1").json() == first.json()
    made = first.json()
    assert (made["kind"], made["to_queue"], made["frozen_count"]) == ("move", "payments.high", 2)
    assert Operation.objects.count() == OutboxMessage.objects.count() == 1
