from typing import Any

import pytest

from audit.actions import ACTIONS
from audit.models import Event
from audit.sentences import sentence


def told(**fields: Any) -> str:
    """The sentence of an event that was never stored."""
    common = {"actor_kind": "user", "actor_name": "Ana Ruiz", "action": "pool.paused", "target_name": "payments"}
    return sentence(Event(**common | {"pool": "payments", "outcome": "done"} | fields))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Ana Ruiz paused payments"),
        ({"outcome": "denied"}, "Ana Ruiz was refused: pause payments"),
        ({"outcome": "intent"}, "Ana Ruiz set out to pause payments"),
        ({"outcome": "failed"}, "Ana Ruiz failed to pause payments"),
        ({"actor_kind": "token", "actor_name": "ci"}, "ci (token) paused payments"),
        ({"actor_kind": "system", "actor_name": "console-jobs"}, "Console jobs paused payments"),
        (
            {"action": "operation.requeue_ended", "after": {"requeued": 4102, "gone": 3}, "detail": {"frozen": 4105}},
            "Ana Ruiz requeued 4,102 dead letters in payments",
        ),
        (
            {"action": "operation.requeue_ended", "after": {"requeued": 1}, "pool": ""},
            "Ana Ruiz requeued 1 dead letter",
        ),
        (
            {"action": "operation.requeue_ended", "after": {"gone": 2, "requeued": 0}},
            "Ana Ruiz requeued 0 dead letters in payments",
        ),
        (
            {"action": "operation.requeue_started", "outcome": "intent", "detail": {"frozen": 7}},
            "Ana Ruiz set out to requeue 7 dead letters in payments",
        ),
        (
            {"action": "operation.requeue_started", "outcome": "denied"},
            "Ana Ruiz was refused: requeue dead letters in payments",
        ),
        ({"action": "config.published"}, "Ana Ruiz published v… of payments"),
        (
            {"action": "pool.scaled", "before": {"workers": 4}, "after": {"workers": 56}},
            "Ana Ruiz scaled payments to 56 workers",
        ),
        ({"action": "pool.scaled", "outcome": "denied"}, "Ana Ruiz was refused: scale payments"),
        (
            {"action": "access.role_granted", "outcome": "denied", "target_name": "Poolwarden", "pool": ""},
            "Ana Ruiz was refused: give somebody a role",
        ),
        (
            {"action": "config.refused", "actor_kind": "agent", "actor_name": "gpu-03", "detail": {"code": "expired"}},
            "Agent gpu-03 refused a config of payments: expired",
        ),
    ],
)
def test_it_reads_as_a_person_would_say_it(fields: dict[str, Any], expected: str) -> None:
    assert told(**fields) == expected


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("outcome", ["intent", "done", "failed", "denied"])
def test_every_action_has_a_sentence_even_without_its_fields(action: str, outcome: str) -> None:
    whole = told(action=action, outcome=outcome, detail=dict.fromkeys(ACTIONS[action].fields(outcome), 3))
    bare = told(action=action, outcome=outcome)

    for text in (whole, bare):
        assert text.startswith("Ana Ruiz ") and "{" not in text and "None" not in text
    assert "…" not in whole


def test_braces_in_a_name_stay_text() -> None:
    assert told(target_name="{0.__class__}{x}") == "Ana Ruiz paused {0.__class__}{x}"


def test_an_action_of_a_later_version_is_told_plainly() -> None:
    assert told(action="pool.painted") == "Ana Ruiz · pool.painted payments (done)"
