"""A rate is kept from stored facts: whoever carries the operation on, however late, sends no more than it allows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import redis

from audit.models import Event
from audit.sentences import sentence
from pools.controller.lease import LeaderLease
from pools.controller.sweeper import Waker
from pools.models import FailureGroup, Operation, OutboxMessage
from pools.operations import Plan, Selection, operation_cancel, operation_pause, operation_rate, pace, requeue_create
from pools.operations.errors import Refused
from pools.operations.execute import run_operation
from pools.permissions import Denied
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import numbered
from tests.operations.conftest import Made
from tests.support.cast import Cast, actor

type Dead = Callable[..., FailureGroup]

START = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)


def send(row: Operation, now: datetime) -> int:
    """Send as much as may go now."""
    total = 0
    while room := pace.room(row, now):
        pace.spend(row, now, room)
        total += room
    return total


@pytest.mark.parametrize("rate", [1, 3, 5, 10, 99, 1000, 4999, 100_000])
def test_turn_after_turn_it_keeps_the_rate(rate: int) -> None:
    """Whoever waits as long as is said, or less than the credit, sends at the rate; for a minute."""
    row, now, sent = Operation(rate_per_second=rate), START, 0
    while now < START + timedelta(minutes=1):
        sent += send(row, now)
        now += timedelta(seconds=pace.seconds_to_wait(row, now), microseconds=1)
    assert rate * 60 * 0.999 - 1 <= sent <= rate * 60 + max(rate // 10, 1)


@pytest.mark.parametrize("rate", [1, 7, 2500])
def test_nobody_bursts_after_a_long_absence(rate: int) -> None:
    row = Operation(rate_per_second=rate)
    first = send(row, START)
    back = START + timedelta(hours=2)
    again = send(row, back)
    assert first == max(rate // 10, 1) and again <= rate
    assert send(row, back) == 0 and 0 < pace.seconds_to_wait(row, back) <= 1.0


def test_without_a_rate_nobody_waits() -> None:
    row = Operation()
    assert (pace.room(row, START), pace.seconds_to_wait(row, START)) == (pace.CHUNK, 0.0)
    pace.spend(row, START, 500)
    assert row.paced_until is None


def planned(cast: Cast, rate: int | None) -> Operation:
    chosen = Selection(filter=DeadLetterFilter())
    return requeue_create(actor=actor(cast.bob), selection=chosen, reason="Slowly", plan=Plan(rate_per_second=rate))


def keeps(row: Operation, rate: int) -> bool:
    """In any span, at most rate * (span + the credit) jobs were stamped, and a batch to begin with."""
    stamps = list(row.items.exclude(at=None).order_by("at").values_list("at", flat=True))
    for first, begin in enumerate(stamps):
        for last, end in enumerate(stamps[first:], start=first):
            span = (end - begin + pace.CREDIT).total_seconds()
            if last - first + 1 > rate * span + max(rate // 10, 1):
                return False
    return all(a <= b for a, b in pairwise(stamps))


def test_a_turn_ends_and_the_controller_sends_it_on(cast: Cast, dead: Dead, client: redis.Redis, db: None) -> None:
    dead(*numbered(40))
    row = planned(cast, 10)
    OutboxMessage.objects.all().delete()
    lease = LeaderLease()
    assert lease.renew()
    turns = 0
    while run_operation(row.pk) == f"operation {row.pk} is handed on":
        turns += 1
        Waker(lease).tick()
        assert OutboxMessage.objects.count() == turns, "one turn leads to one other"
        Waker(lease).tick()
        assert OutboxMessage.objects.count() == turns
        assert lease.renew()
    row.refresh_from_db()
    assert (row.state, row.outcome_counts()) == ("ended", {"requeued": 40}) and turns
    assert keeps(row, 10)
    assert [job.decode() for job in client.lrange("rq:queue:payments", 0, -1)] == numbered(40)


def test_a_paused_one_is_not_sent_on(cast: Cast, dead: Dead, db: None) -> None:
    dead(*numbered(40))
    row = planned(cast, 1)
    assert run_operation(row.pk) == f"operation {row.pk} is handed on"
    operation_pause(actor=actor(cast.bob), operation=row)
    OutboxMessage.objects.all().delete()
    lease = LeaderLease()
    assert lease.renew()
    Waker(lease).tick()
    assert not OutboxMessage.objects.exists()


def test_the_rate_changes_while_it_runs(cast: Cast, dead: Dead) -> None:
    dead(*numbered(40))
    row = planned(cast, 1)
    run_operation(row.pk)
    operation_rate(actor=actor(cast.bob), operation=row, rate_per_second=5000, reason="It holds")
    operation_rate(actor=actor(cast.bob), operation=row, rate_per_second=None)
    first, second = Event.objects.filter(action="operation.rate_changed").order_by("pk")
    assert sentence(first) == f"bob set the rate of operation {row.pk} to 5,000 a second"
    assert (first.before, first.after, first.reason) == ({"rate_per_second": 1}, {"rate_per_second": 5000}, "It holds")
    assert sentence(second) == f"bob set the rate of operation {row.pk} to as fast as it goes"
    run_operation(row.pk)
    row.refresh_from_db()
    assert row.outcome_counts() == {"requeued": 40}


@pytest.mark.parametrize(
    ("rate", "field"), [(0, "rate_per_second"), (100_001, "rate_per_second"), (1, "rate_per_second")]
)
def test_a_rate_that_cannot_be(cast: Cast, dead: Dead, rate: int, field: str) -> None:
    dead("a", "b")
    row = planned(cast, 1)
    with pytest.raises(Refused) as refused:
        operation_rate(actor=actor(cast.bob), operation=row, rate_per_second=rate)
    assert refused.value.field == "rate_per_second"
    row.refresh_from_db()
    assert row.rate_per_second == 1 and not Event.objects.filter(action="operation.rate_changed").exists()


def test_who_may_and_when(cast: Cast, dead: Dead, requeue: Made) -> None:
    dead("a")
    row = requeue()
    with pytest.raises(Denied):
        operation_rate(actor=actor(cast.vera), operation=row, rate_per_second=5)
    operation_cancel(actor=actor(cast.bob), operation=row, reason="no")
    with pytest.raises(Refused, match="is cancelled: it sends nothing"):
        operation_rate(actor=actor(cast.bob), operation=row, rate_per_second=5)
