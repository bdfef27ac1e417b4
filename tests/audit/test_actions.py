import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders

from audit.actions import ACTIONS, Action, DuplicateAction, UnknownAction, action_of, registry

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = [*ROOT.glob("pools/operations/*.py"), *ROOT.glob("audit/operations*.py")]


def test_every_action_is_found_by_its_id() -> None:
    assert all(action_of(name) is action for name, action in ACTIONS.items())
    assert len(ACTIONS) > 35


def test_an_unregistered_action_is_refused_by_name() -> None:
    with pytest.raises(UnknownAction, match=r"pool\.painted"):
        action_of("pool.painted")


def test_a_duplicate_is_refused() -> None:
    with pytest.raises(DuplicateAction, match=r"a\.b"):
        registry(Action("a.b", "key", "did", "do"), Action("a.b", "lock", "did it", "do it"))


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_an_action_is_room_and_past_tense_and_can_be_told(action: Action) -> None:
    room, _, verb = action.id.partition(".")
    assert room.replace("_", "").isalpha() and verb.replace("_", "").isalpha()
    assert action.done and action.attempt and action.icon and action.severity in ("info", "notice", "warning")


def test_every_icon_is_in_the_sprite() -> None:
    with open(finders.find("vendor/tabler-icons/sprite.svg")) as file:
        sprite = file.read()
    assert {action.icon for action in ACTIONS.values() if f'id="tabler-{action.icon}"' not in sprite} == set()


def test_an_action_names_the_fields_that_its_sentences_need() -> None:
    action = action_of("operation.requeue_ended")
    assert (action.fields("done"), action.fields("failed")) == ({"requeued"}, {"frozen"})
    assert action_of("pool.paused").fields("done") == frozenset()


def test_what_can_be_denied_is_told_without_fields() -> None:
    """Every verb is written ``@operation("its action")``, and a denial knows only what was asked."""
    sources = (path.read_text() for path in OPERATIONS)
    verbs = {name for source in sources for name in re.findall(r'@operation\("([^"]+)"\)', source)}
    assert len(verbs) > 15
    assert {name for name in verbs if action_of(name).fields("denied")} == set()
