from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.actor import Actor, agent_actor, system_actor
from audit.models import Event, Personal
from audit.permissions import Denied
from audit.selectors import (
    Filters,
    event_by_index,
    events,
    events_around,
    log_state,
    pending_events,
    same_request,
)
from audit.sequencer import Sequencer
from audit.target import Target
from tests.audit.cast import ANA, actor_for, happened, logged

pytestmark = pytest.mark.django_db


def indexes(found: list[Event]) -> list[int]:
    return [event.placed.index for event in found]


def matching(auditor: Any, **fields: Any) -> list[int]:
    return indexes(events(actor_for(auditor), Filters(**fields)).events)


@pytest.mark.parametrize("read", [events, pending_events], ids=["events", "pending"])
def test_an_outsider_is_told_what_is_missing_and_who_can_grant_it(read: Any, outsider: Any, admin: Any) -> None:
    with pytest.raises(Denied, match=r"audit\.view_event.*mara can grant it"):
        read(actor_for(outsider), Filters())


def test_no_reader_but_the_system_goes_without_an_account(outsider: Any) -> None:
    event = logged()
    for actor in (agent_actor("host-1"), Actor(kind="token", id="1", name="ci")):
        for read in (lambda a: event_by_index(a, 0), lambda a: same_request(a, event), lambda a: events(a, Filters())):
            with pytest.raises(Denied):
                read(actor)
    assert event_by_index(system_actor("command-line"), 0) == event


def test_an_inactive_auditor_is_an_outsider(auditor: Any) -> None:
    auditor.is_active = False
    auditor.save()
    with pytest.raises(Denied):
        events(actor_for(auditor), Filters())


def test_each_filter_narrows(auditor: Any) -> None:
    bob = Actor(kind="user", id="8", name="Bob")
    logged(reason="freeze")  # 0
    logged(
        actor=bob,
        action="operation.requeue_started",
        target=Target("operation", "318", "#318", "media"),
        detail={"frozen": 3},
    )  # 1
    logged(actor=bob, outcome="denied", reason="MORE workers")  # 2

    assert matching(auditor) == [2, 1, 0]
    assert matching(auditor, actor="Bob") == matching(auditor, actor="8") == [2, 1]
    assert matching(auditor, action="operation") == matching(auditor, action="operation.requeue_started") == [1]
    assert matching(auditor, action="oper") == []
    assert matching(auditor, target="318") == matching(auditor, target="#318") == [1]
    assert matching(auditor, pool="media") == [1]
    assert matching(auditor, outcome="denied") == [2]
    assert matching(auditor, q="more W") == [2]
    assert matching(auditor, q="%") == []
    assert matching(auditor, actor="Bob", pool="payments") == [2]


def test_since_is_included_and_until_is_not(auditor: Any) -> None:
    at = logged().at
    instant = timedelta(microseconds=1)

    assert matching(auditor, since=at) == matching(auditor, until=at + instant) == [0]
    assert matching(auditor, until=at) == matching(auditor, since=at + instant) == []


def test_pages_are_complete_while_events_arrive(auditor: Any) -> None:
    for _ in range(7):
        happened()
    Sequencer().tick()
    actor, seen, before = actor_for(auditor), [], None
    while True:
        page = events(actor, Filters(), before=before, size=3)
        seen += indexes(page.events)
        logged(reason="meanwhile")
        if page.next is None:
            break
        before = page.next
    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_a_last_full_page_has_no_next(auditor: Any) -> None:
    happened()
    logged()
    assert events(actor_for(auditor), Filters(), size=2).next is None


def test_pending_events_are_apart_until_they_are_integrated(auditor: Any) -> None:
    event = happened()
    actor = actor_for(auditor)
    assert pending_events(actor, Filters()) == [event] and pending_events(actor, Filters(pool="media")) == []
    assert events(actor, Filters()).events == []

    Sequencer().tick()
    assert pending_events(actor, Filters()) == []
    assert events(actor, Filters()).events == [event]


def test_around_shows_newer_and_older_ones(auditor: Any) -> None:
    for _ in range(20):
        happened()
    Sequencer().tick()
    found = events_around(actor_for(auditor), Filters(), 9, newer=3, size=6)
    assert indexes(found) == [12, 11, 10, 9, 8, 7]


def test_same_request_is_the_others_of_that_request(auditor: Any) -> None:
    intent, effect = logged(outcome="intent"), logged()
    elsewhere = logged(actor=Actor(kind="user", id="7", name="Ana Ruiz", request_id="ffff"))
    unasked, alone = logged(actor=system_actor("controller")), logged(actor=system_actor("controller"))

    assert same_request(actor_for(auditor), effect) == [intent]
    assert same_request(actor_for(auditor), elsewhere) == same_request(actor_for(auditor), unasked) == []
    assert alone.request_id == "" and ANA.request_id


def test_an_index_beyond_the_log_or_the_integers_does_not_exist(auditor: Any) -> None:
    logged()
    for index in (1, 2**63, 10**30):
        with pytest.raises(Event.DoesNotExist):
            event_by_index(actor_for(auditor), index)


def test_the_state_of_the_log() -> None:
    empty = log_state()
    assert (empty.newest, empty.newest_at, empty.size, empty.pending, empty.oldest_pending_age) == (None, None, 0, 0, 0)

    first = logged()
    happened()
    happened()
    state = log_state()
    assert (state.newest, state.newest_at, state.size, state.pending) == (0, first.at, 1, 2)
    assert 0 <= state.oldest_pending_age <= (datetime.now(UTC) - first.at).total_seconds()


def test_a_personal_name_is_found_until_it_is_erased(auditor: Any) -> None:
    typed = Target("account", "", "ana.ruiz")
    logged(action="session.sign_in_failed", outcome="failed", target=typed)
    logged(target=Target("user", "7", "ana.ruiz"))
    assert matching(auditor, target="ana.ruiz") == [1, 0]
    Personal.objects.filter(field="target").delete()
    assert matching(auditor, target="ana.ruiz") == [1]


def test_the_actions_of_one_room_come_in_order(auditor: Any) -> None:
    for action in ("pool.paused", "pool.resumed", "pool.paused", "pool.drained", "pool.resumed"):
        logged(action=action)
    assert matching(auditor, action="pool") == [4, 3, 2, 1, 0]
    actor = actor_for(auditor)
    page = events(actor, Filters(action="pool"), size=2)
    assert indexes(page.events) == [4, 3] and page.next == 3
    assert indexes(events(actor, Filters(action="pool"), before=3, size=9).events) == [2, 1, 0]


def test_a_clock_that_is_wrong_by_hours_hides_nothing(auditor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    for hours in (0, -20, 1, 20, 2):
        monkeypatch.setattr("audit.recorder.timezone.now", lambda hours=hours: now + timedelta(hours=hours))
        logged()
    assert matching(auditor, since=now, until=now + timedelta(hours=3)) == [4, 2, 0]
    assert matching(auditor, until=now) == [1] and matching(auditor, since=now + timedelta(hours=10)) == [3]
