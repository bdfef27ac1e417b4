"""One failure group over the API: what it shows, and what can be decided."""

from typing import Any

import pytest

from audit.models import Event
from audit.recorder import rfc3339
from pools.models import DeadLetter, FailureGroup, GroupNote, GroupState, Pool
from tests.api.calling import Caller, problem
from tests.support import factories as make
from tests.support.cast import Cast

WHY = {"reason": "The gateway is down"}


@pytest.fixture
def path(letters: list[DeadLetter]) -> str:
    return f"failure-groups/{letters[0].group_id}"


def test_a_group_with_its_notes(alice: Caller, path: str) -> None:
    until = make.ago(days=-7)
    Pool.objects.update(runbook_url="https://runbooks.example/payments")
    alice.post(f"{path}/notes", {"text": "Ask the gateway's people"})
    alice.post(f"{path}/assign", {"owner": "bob"})
    alice.post(f"{path}/snooze", WHY | {"until": rfc3339(until)})
    found = alice.get(path).json()
    assert (found["state"], found["owner"], found["count"], found["revision"]) == ("snoozed", "bob", 3, 3)
    assert found["snooze"] == {"until": rfc3339(until), "total_count": None, "config_version": None}
    assert found["runbook_url"] == "https://runbooks.example/payments"
    notes = [(note["author_name"], note["did"], note["text"]) for note in found["notes"]]
    assert notes == [
        ("alice (token)", f"snoozed it until {until:%Y-%m-%d %H:%M} UTC", "The gateway is down"),
        ("alice (token)", "gave it to bob", ""),
        ("alice (token)", "", "Ask the gateway's people"),
    ]


def test_from_new_to_resolved_and_back(alice: Caller, path: str) -> None:
    steps: list[tuple[str, dict[str, Any] | None, str]] = [
        ("snooze", WHY | {"failures": 5}, "snoozed"),
        ("unsnooze", None, "new"),
        ("snooze", WHY | {"next_version": True}, "snoozed"),
        ("acknowledge", None, "acknowledged"),
        ("resolve", WHY, "resolved"),
        ("reopen", {"reason": "It was another cause"}, "acknowledged"),
    ]
    for revision, (verb, body, state) in enumerate(steps, start=2):
        answer = alice.post(f"{path}/{verb}", body) if body else alice.post(f"{path}/{verb}")
        assert answer.status_code == 200, answer.content
        assert (answer.json()["state"], answer.json()["revision"]) == (state, revision)


def test_the_list_narrows_by_state_and_owner(cast: Cast, alice: Caller, path: str) -> None:
    for query, count in (
        ({"group_state": "new"}, 1),
        ({"group_state": "resolved,snoozed"}, 0),
        ({"owner": "none"}, 1),
        ({"owner": "me"}, 0),
    ):
        assert len(alice.items("failure-groups", **query)) == count, query
        assert len(alice.items("dead-letters", **query)) == count * 3, query
    FailureGroup.objects.update(owner=cast.alice)
    assert len(alice.items("failure-groups", owner="me")) == len(alice.items("failure-groups", owner="alice")) == 1
    assert Caller(cast.bob).items("failure-groups", owner="me") == []
    problem(alice.get("failure-groups", group_state="old"), 422, "group_state")


def test_an_operation_by_owner_and_state(alice: Caller, path: str) -> None:
    body = {"kind": "requeue", "filter": {"owner": "none", "group_state": "new"}, "start": False} | WHY
    assert alice.post("operations", body).json()["frozen_count"] == 3


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("resolve", {}, "reason"),
        ("resolve", {"reason": " "}, "reason"),
        ("snooze", {"failures": 5}, "reason"),
        ("snooze", WHY, "until"),
        ("snooze", WHY | {"until": "tomorrow"}, "until"),
        ("snooze", WHY | {"until": 1800000000}, "until"),
        ("snooze", WHY | {"until": "2027-01-02T03:04:05"}, "until"),
        ("snooze", WHY | {"until": "2020-01-02T03:04:05Z"}, "until"),
        ("snooze", WHY | {"failures": 0}, "failures"),
        ("snooze", WHY | {"failures": "5"}, "failures"),
        ("snooze", WHY | {"next_version": 1}, "next_version"),
        ("assign", {}, "owner"),
        ("assign", {"owner": None}, "owner"),
        ("assign", {"owner": "charlie"}, "owner"),
        ("notes", {"text": ""}, "text"),
        ("notes", {"text": "x" * 2001}, "text"),
        ("runbook", {"url": "javascript:alert(1)"}, "url"),
        ("acknowledge", {"because": "x"}, "because"),
    ],
)
def test_a_bad_field_is_named(alice: Caller, path: str, verb: str, body: dict[str, Any], field: str) -> None:
    logged = Event.objects.count()
    problem(alice.post(f"{path}/{verb}", body), 422, field)
    assert FailureGroup.objects.get().revision == 1
    assert not GroupNote.objects.exists() and Event.objects.count() == logged


def test_what_the_state_forbids_or_somebody_changed_is_a_conflict(alice: Caller, path: str) -> None:
    problem(alice.post(f"{path}/reopen"), 409)
    FailureGroup.objects.update(revision=4)
    assert problem(alice.post(f"{path}/resolve", WHY | {"expected_version": 3}), 409)["current"] == 4
    assert FailureGroup.objects.get().state == GroupState.NEW


def test_a_note_that_is_sent_again_is_written_once(alice: Caller, path: str) -> None:
    first, again = (alice.post(f"{path}/notes", {"text": "Once"}, key="note-1") for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201) and first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true" and GroupNote.objects.count() == 1


def test_an_outsider_finds_no_group(charlie: Caller, path: str) -> None:
    problem(charlie.get(path), 404)
    problem(charlie.get("failure-groups/424242"), 404)
