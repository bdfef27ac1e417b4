"""Approval over the API: what asking answers, and who may say yes."""

from typing import Any

import pytest

from pools.models import DeadLetter, OperationState, OutboxMessage, Pool
from tests.api.calling import Caller, problem
from tests.support.cast import Cast

BODY: dict[str, Any] = {"kind": "requeue", "ids": ["job-0", "job-1"], "reason": "The gateway is back"}


@pytest.fixture
def asked(alice: Caller, payments: Pool, letters: list[DeadLetter]) -> dict[str, Any]:
    """What Alice got for her two jobs, where one person may handle one."""
    Pool.objects.update(approval_limit=1)
    response = alice.post("operations", BODY)
    assert response.status_code == 201
    made: dict[str, Any] = response.json()
    return made


def test_asking_returns_the_state_and_why(alice: Caller, asked: dict[str, Any]) -> None:
    assert (asked["state"], asked["stage"], asked["frozen_count"]) == ("awaiting", "frozen", 2)
    approval = asked["approval"]
    assert approval.pop("lapses_at").endswith("Z")
    assert approval == {
        "needed": [{"pool": "payments", "jobs": 2, "lately": 0, "limit": 1}],
        "decision": "",
        "decided_by": "",
        "reason": "",
        "decided_at": None,
    }
    assert not OutboxMessage.objects.exists()
    problem(alice.post(f"operations/{asked['id']}/start"), 409)


def test_another_person_approves_once(cast: Cast, asked: dict[str, Any]) -> None:
    ada, path = Caller(cast.ada), f"operations/{asked['id']}/approve"
    problem(ada.post(path, {}), 422, "reason")
    problem(ada.post(path, {"reason": "Fine", "ids_sha256": "0" * 64}), 409)
    body = {"reason": "Fine", "ids_sha256": asked["ids_sha256"]}
    first = ada.post(path, body, key="approve-1")
    assert first.status_code == 200, first.content
    made = first.json()
    assert (made["state"], made["approval"]["decision"], made["approval"]["decided_by"]) == (
        "running",
        "approved",
        "ada (token)",
    )
    assert ada.post(path, body, key="approve-1").json() == made and OutboxMessage.objects.count() == 1
    problem(ada.post(path, body), 409)


@pytest.mark.parametrize("verb", ["approve", "decline"])
def test_neither_oneself_nor_without_the_right_nor_an_outsider(
    cast: Cast, alice: Caller, charlie: Caller, asked: dict[str, Any], verb: str
) -> None:
    path = f"operations/{asked['id']}/{verb}"
    assert problem(alice.post(path, {"reason": "x"}), 403)["permission"] == "approve_operations"
    cast.alice.groups.set(cast.ada.groups.all())
    assert "another person" in problem(alice.post(path, {"reason": "x"}), 409)["detail"]
    problem(charlie.post(path, {"reason": "x"}), 404)
    assert alice.get(path).status_code == 405
    assert alice.get(f"operations/{asked['id']}").json()["state"] == OperationState.AWAITING


def test_declining(cast: Cast, asked: dict[str, Any]) -> None:
    answer = Caller(cast.ada).post(f"operations/{asked['id']}/decline", {"reason": "Not yet"}).json()
    assert (answer["state"], answer["outcomes"]) == ("cancelled", {"cancelled": 2})
    assert (answer["approval"]["decision"], answer["approval"]["reason"]) == ("declined", "Not yet")


def test_the_limit_of_a_pool(cast: Cast, alice: Caller, payments: Pool) -> None:
    assert alice.get("pools/payments").json()["approved_above"] is None
    changed = alice.post("pools/payments/edit", {"approval_limit": 5, "expected_version": 1}).json()
    assert (changed["approval_limit"], changed["approved_above"], changed["name"]) == (5, 5, payments.name)
    problem(alice.post("pools/payments/edit", {"approval_limit": 1, "expected_version": 1}), 409)
    problem(alice.post("pools/payments/edit", {"approval_limit": -1}), 422, "approval_limit")
    problem(alice.post("pools/payments/edit", {"criticality": "very"}), 422, "criticality")
    problem(alice.post("pools/payments/edit", {"approval_limit": None}), 403)
    problem(Caller(cast.vera).post("pools/payments/edit", {"approval_limit": 1}), 403)
    assert alice.post("pools/payments/edit", {"criticality": "critical"}).json()["approved_above"] == 5
    assert Caller(cast.ada).post("pools/payments/edit", {"approval_limit": None}).json()["approved_above"] == 1000
