"""Reading the log again. What it finds in a log that was altered is in test_tamper."""

import pytest
from django.db import connection

from audit.merkle import leaf_hash
from audit.models import Condition, Event
from audit.scrubber import Scrubber
from audit.sequencer import Sequencer
from tests.audit.cast import happened, logged
from tests.audit.tampering import tamper

pytestmark = pytest.mark.django_db


def test_a_log_that_is_as_it_was_is_good() -> None:
    happened(before={"größe": [1, None, True]}, detail={"a": {"b": "ü\u2028"}}, reason="\n")
    happened(action="session.sign_in_failed")
    Sequencer().tick()
    reader = Scrubber()
    assert reader.tick() is False and reader.tick() is False
    condition = Condition.objects.get()
    assert (condition.name, condition.good, condition.size) == ("contents", True, 2)
    assert not Event.objects.filter(action="log.altered").exists()


def test_an_erased_personal_value_is_no_alarm() -> None:
    event = logged()
    event.personal.all().delete()
    reader = Scrubber()
    reader.tick()
    reader.tick()
    assert Condition.objects.get().good


@pytest.mark.parametrize("leaf", [b"[]", b"7", b"{", b"[" * 50_000], ids=["list", "number", "half", "deep"])
def test_bytes_that_are_no_event_do_not_stop_it(leaf: bytes) -> None:
    """Their hash fits: the owner changed it, too."""
    logged()
    tamper(f"UPDATE audit_event SET leaf = {literal(leaf)}")
    tamper(f"UPDATE audit_leaf SET hash = {literal(leaf_hash(leaf))}")
    Scrubber().tick()
    assert Condition.objects.get().detail == "Event 0 was altered: its bytes are no event."


def literal(content: bytes) -> str:
    return f"'\\x{content.hex()}'" if connection.vendor == "postgresql" else f"x'{content.hex()}'"


def test_it_goes_on_as_the_log_grows_and_tells_each_thing_once() -> None:
    first = logged()
    reader = Scrubber()
    reader.tick()
    second = logged()
    tamper(f"UPDATE audit_event SET reason = 'other' WHERE id IN ({first.pk}, {second.pk})")
    reader.tick()
    assert (
        Condition.objects.get().detail == "Event 1 was altered: what is shown as its reason is not what was recorded."
    )
    again = Scrubber()
    again.tick()
    assert Condition.objects.get().detail.startswith("Event 0 was altered")
    Scrubber().tick()
    assert Event.objects.filter(action="log.altered").count() == 2
