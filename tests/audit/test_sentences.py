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
            {"action": "operation.requeue_ended", "target_name": "318", "detail": {"count": 4102}},
            "Ana Ruiz requeued 4,102 dead letters in payments",
        ),
        (
            {"action": "operation.requeue_ended", "target_name": "318", "detail": {"count": 1}, "pool": ""},
            "Ana Ruiz requeued 1 dead letter",
        ),
        (
            {"action": "pool.scaled", "before": {"workers": 4}, "after": {"workers": 56}, "outcome": "denied"},
            "Ana Ruiz was refused: scale payments to 56 workers",
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
    fields = dict.fromkeys(ACTIONS[action].fields, 3)
    whole = told(action=action, outcome=outcome, detail=fields)
    bare = told(action=action, outcome=outcome)

    assert whole.startswith("Ana Ruiz ") and "{" not in whole
    assert bare == whole if not fields else bare.startswith("Ana Ruiz ")


def test_braces_in_a_name_stay_text() -> None:
    assert told(target_name="{0.__class__}{x}") == "Ana Ruiz paused {0.__class__}{x}"


def test_an_action_of_a_later_version_is_told_plainly() -> None:
    assert told(action="pool.painted") == "Ana Ruiz · pool.painted payments (done)"
