import time
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from audit.models import Event, Leaf
from audit.rows import Change, Row, changes, days, facts
from controlplane.wording import MISSING
from tests.support.waiting import wait_for


def test_fields_before_and_after_are_compared_by_path() -> None:
    event = Event(
        before={"workers": 4, "spec": {"queues": ["a"], "ttl": 60}, "state": "running", "gone": True},
        after={"workers": 2, "spec": {"queues": ["a", "ä"], "ttl": 60}, "state": "paused", "letters": 4102},
    )
    assert changes(event) == [
        Change("workers", "4", "2", "\N{MINUS SIGN}2"),
        Change("spec.queues", '["a"]', '["a", "ä"]', ""),
        Change("spec.ttl", "60", "60", "0"),
        Change("state", "running", "paused", ""),
        Change("gone", "true", MISSING, ""),
        Change("letters", MISSING, "4,102", ""),
    ]
    assert [change.changed for change in changes(event)] == [True, True, False, True, True, True]


def test_an_event_without_before_and_after_has_no_changes() -> None:
    assert changes(Event()) == []


def test_facts_are_named_for_people() -> None:
    assert facts(Event(detail={"exit_code": 3, "by": {"rule": "x"}, "permission": "p", "job": None})) == [
        ("Exit code", "3"),
        ("By.rule", "x"),
    ]


@pytest.mark.parametrize(
    ("fields", "icon", "tone"),
    [
        ({"action": "pool.paused", "outcome": "done"}, "player-pause", ""),
        ({"action": "pool.paused", "outcome": "denied"}, "ban", "pw-t-bad"),
        ({"action": "worker.lost", "outcome": "done"}, "heart-broken", "pw-t-bad"),
        ({"action": "pool.painted", "outcome": "done"}, "help", ""),
    ],
)
def test_only_what_went_wrong_is_red(fields: dict[str, str], icon: str, tone: str) -> None:
    row = Row(Event(**fields))
    assert (row.icon, row.tone) == (icon, tone)


def test_events_are_grouped_by_utc_day() -> None:
    wait_for(lambda: time.time() % 86_400 < 86_390, message="it is not midnight")
    now = timezone.now().astimezone(UTC)
    moments = [now, now - timedelta(days=1), datetime(2026, 3, 5, 23, 59, tzinfo=UTC)]
    found = [Event(at=at, placed=Leaf(index=9 - place)) for place, at in enumerate(moments)]
    assert [(day.label, [row.index for row in day.rows]) for day in days(found)] == [
        ("Today", [9]),
        ("Yesterday", [8]),
        ("Thursday 5 March 2026", [7]),
    ]
