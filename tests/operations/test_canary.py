"""A canary goes first; what becomes of it decides, once, whether the rest follows. Returning failures stop it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from django.utils import timezone
from rq import Queue

from audit.models import Event
from audit.sentences import sentence
from pools.controller.console_jobs import enqueue_operation
from pools.controller.effects import Effects
from pools.controller.lease import LeaderLease
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.controller.sweeper import Resumer, Waker
from pools.models import DeadLetter, FailureGroup, Operation, OperationState, OutboxMessage, Pool
from pools.operations import Canary, Plan, Selection, operation_cancel, operation_resume, requeue_create
from pools.operations.errors import Refused
from pools.operations.execute import _next_chunk, receipt_of, run_operation
from pools.operations.sending import send
from pools.selectors.dead_letters import DeadLetterFilter
from tests.broker.jobs import fails_unless
from tests.dead_letters.letters import numbered
from tests.support import factories as make
from tests.support.cast import Cast, actor
from tests.support.in_process import InProcessWorker

type Dead = Callable[..., FailureGroup]
type Planned = Callable[..., Operation]


@pytest.fixture
def planned(cast: Cast) -> Planned:
    """Bob requeues everything as planned."""

    def create(**plan: object) -> Operation:
        selection = Selection(filter=DeadLetterFilter())
        made = requeue_create(actor=actor(cast.bob), selection=selection, reason="It is back", plan=Plan(**plan))  # type: ignore[arg-type]
        OutboxMessage.objects.all().delete()
        return made

    return create


@pytest.fixture
def lease(db: None) -> LeaderLease:
    return LeaderLease()


@pytest.fixture
def controller(lease: LeaderLease) -> Callable[[], int]:
    """What the controller does about operations: follow, wake. Answers how many it has sent on their way."""
    loops = [Effects(lease), Waker(lease), Resumer(lease)]

    def tick() -> int:
        before = OutboxMessage.objects.count()
        for loop in loops:
            assert lease.renew()
            loop.tick()
        return OutboxMessage.objects.count() - before

    return tick


def ends(client: redis.Redis, status: str, *ids: str) -> None:
    """A worker took these jobs and they came to this."""
    for job_id in ids:
        client.lrem("rq:queue:payments", 1, job_id)
        client.hset(f"rq:job:{job_id}", "status", status)


def run(operation: Operation) -> str:
    told = run_operation(operation.pk)
    operation.refresh_from_db()
    return told


def told(action: str) -> list[str]:
    return [sentence(event) for event in Event.objects.filter(action=action).order_by("pk")]


IDS = numbered(30)
CANARY = Canary(count=5, min_success=80)


def test_the_rest_follows_a_canary_that_succeeds(
    dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    dead(*IDS)
    operation = planned(canary=CANARY)
    assert run(operation) == f"operation {operation.pk} waits for its canary"
    assert (operation.state, operation.outcome_counts()) == ("running", {"pending": 25, "requeued": 5})
    assert [job.decode() for job in client.lrange("rq:queue:payments", 0, -1)] == IDS[:5], "the oldest"
    assert run(operation).endswith("waits for its canary") and controller() == 0, "nothing is known yet"
    ends(client, "finished", *IDS[:4])
    assert controller() == 0, "one still runs"
    ends(client, "failed", IDS[4])
    assert controller() == 1 and controller() == 0, "it is woken once"
    run(operation)
    assert (operation.state, operation.outcome_counts()) == ("ended", {"requeued": 30})
    assert operation.canary_effects == {"failed_again": 1, "succeeded": 4}
    assert told("operation.canary_passed") == [
        f"Console jobs saw the canary of operation {operation.pk} pass: 4 succeeded, 1 failed again"
    ]
    assert run(operation) == f"operation {operation.pk} is ended" and len(told("operation.canary_passed")) == 1


def test_a_canary_that_fails_stops_the_rest(
    cast: Cast, dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    dead(*IDS)
    operation = planned(canary=CANARY)
    run(operation)
    ends(client, "finished", *IDS[:3])
    ends(client, "failed", *IDS[3:5])
    assert controller() == 1
    assert run(operation) == f"operation {operation.pk} is stopped"
    why = "3 of 5 jobs of the canary succeeded, less than 80 %"
    assert operation.stopped_because == why
    assert told("operation.stopped") == [f"Console jobs stopped operation {operation.pk}: {why}"]
    assert run(operation) == f"operation {operation.pk} is stopped" and controller() == 0
    assert operation.outcome_counts() == {"pending": 25, "requeued": 5} and len(told("operation.stopped")) == 1

    with pytest.raises(Refused, match="Say why"):
        operation_resume(actor=actor(cast.bob), operation=operation)
    operation_resume(actor=actor(cast.bob), operation=operation, reason="The two were broken anyway")
    assert Event.objects.get(action="operation.resumed").detail["stopped_because"] == why
    run(operation)
    assert (operation.state, operation.outcome_counts()) == ("ended", {"requeued": 30})
    assert told("operation.canary_passed") == []


def test_a_canary_that_is_decided_early_leaves_no_alarm_set(
    dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    """Another process came by before the controller woke it, and the rate lets nothing go at this moment."""
    dead(*IDS)
    operation = planned(canary=CANARY, rate_per_second=1)
    while run(operation) != f"operation {operation.pk} waits for its canary":
        pass
    operation.items.filter(outcome="requeued").update(effect="succeeded")
    Operation.objects.update(paced_until=timezone.now() + timedelta(seconds=1.5))
    assert run(operation) == f"operation {operation.pk} is handed on"
    assert operation.wake_at is not None and operation.wake_at <= timezone.now() and controller() == 1


def test_one_that_stopped_can_be_cancelled(
    cast: Cast, dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    dead(*IDS)
    operation = planned(canary=CANARY)
    run(operation)
    ends(client, "failed", *IDS[:5])
    controller()
    run(operation)
    operation_cancel(actor=actor(cast.bob), operation=operation, reason="It is not fixed")
    run(operation)
    assert (operation.state, operation.outcome_counts()) == ("cancelled", {"cancelled": 25, "requeued": 5})


def test_a_canary_that_never_ends_stops_and_says_so(
    dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    dead(*IDS)
    operation = planned(canary=CANARY)
    run(operation)
    ends(client, "finished", *IDS[:3])
    assert controller() == 0 and operation.wake_at is not None and operation.canary_sent_at is not None
    assert (operation.wake_at - operation.canary_sent_at).total_seconds() == 15 * 60
    late = make.ago(minutes=15, seconds=1)
    Operation.objects.update(canary_sent_at=late, wake_at=make.ago(seconds=1))
    assert controller() == 1
    run(operation)
    assert operation.stopped_because == "2 of 5 jobs of the canary had not ended after 15 min"


def test_waiting_for_a_canary_is_not_taken_for_being_lost(
    dead: Dead, planned: Planned, controller: Callable[[], int]
) -> None:
    dead(*IDS)
    run(planned(canary=CANARY))
    Operation.objects.update(progressed_at=make.ago(minutes=5))
    assert controller() == 0
    Operation.objects.update(wake_at=None)
    assert controller() == 1, "its job died before it could say that it waits, or decide"


def test_what_was_skipped_proves_nothing(dead: Dead, planned: Planned, client: redis.Redis) -> None:
    dead(*IDS)
    operation = planned(canary=CANARY)
    client.delete(*(f"rq:job:{job_id}" for job_id in IDS[:4]))
    run(operation)
    assert operation.outcome_counts() == {"gone": 4, "pending": 21, "requeued": 5}


@pytest.mark.parametrize("count", [30, 31, 1000])
def test_a_canary_of_everything_decides_about_nothing(dead: Dead, planned: Planned, count: int) -> None:
    dead(*IDS)
    operation = planned(canary=Canary(count=count, min_success=100))
    run(operation)
    assert (operation.state, operation.outcome_counts()) == ("ended", {"requeued": 30})


def test_a_canary_that_died_on_its_way_is_sent_once(dead: Dead, planned: Planned, client: redis.Redis) -> None:
    dead(*IDS)
    operation = planned(canary=CANARY)
    row, items, *_ = _next_chunk(operation.pk)
    send(row, items, receipt_of(row))
    run(operation)
    assert client.llen("rq:queue:payments") == 5 and operation.outcome_counts() == {"pending": 25, "requeued": 5}


def fail_again(client: redis.Redis, *ids: str, group: FailureGroup | None = None) -> None:
    """They failed again, as the ingester tells it: for the same cause, or for that of ``group``."""
    ends(client, "failed", *ids)
    letters = DeadLetter.objects.filter(job_id__in=ids)
    letters.update(state="open", enqueued_at=make.ago(minutes=-1), **({"group": group} if group else {}))


def stop_after(
    dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int], same: int, other: int, good: int
) -> Operation:
    """The canary lets everything pass; then so many have ended, and the next chunk is asked for."""
    dead(*IDS)
    elsewhere = dead("x", title="KeyError: other")
    DeadLetter.objects.filter(job_id="x").update(state="gone")
    operation = planned(stop_same_failure=20, canary=Canary(count=20, min_success=1))
    run(operation)
    fail_again(client, *IDS[:same])
    fail_again(client, *IDS[same : same + other], group=elsewhere)
    ends(client, "finished", *IDS[same + other : same + other + good])
    controller()
    run(operation)
    return operation


def test_the_same_failure_that_returns_stops(
    cast: Cast, dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    operation = stop_after(dead, planned, client, controller, same=5, other=0, good=15)
    assert (operation.state, operation.same_failures) == ("stopped", 5)
    assert operation.stopped_because == "5 of 20 jobs failed again for the same cause, more than 20 %"
    operation_resume(actor=actor(cast.bob), operation=operation, reason="The rest goes to another gateway")
    run(operation)
    assert operation.state == "ended", "from here on it is counted anew"


@pytest.mark.parametrize(("same", "other", "good"), [(4, 0, 16), (4, 10, 6), (0, 19, 1)])
def test_a_share_at_the_limit_or_another_failure_does_not_stop(
    dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int], same: int, other: int, good: int
) -> None:
    operation = stop_after(dead, planned, client, controller, same, other, good)
    assert (operation.state, operation.same_failures) == ("ended", same)


def test_one_failure_alone_is_no_share(
    dead: Dead, planned: Planned, client: redis.Redis, controller: Callable[[], int]
) -> None:
    dead(*IDS)
    operation = planned(stop_same_failure=5, canary=Canary(count=1, min_success=1, timeout=10))
    run(operation)
    fail_again(client, IDS[0])
    controller()
    run(operation)
    assert operation.stopped_because.startswith("0 of 1 job of the canary"), "its canary says so, not the share"


def test_with_rq_itself(
    planned: Planned,
    client: redis.Redis,
    lease: LeaderLease,
    controller: Callable[[], int],
    payments: Pool,
    tmp_path: Path,
) -> None:
    """Real jobs on a real worker; the operation's own jobs go the way of production, and it stops at the same cause."""
    queue = Queue("payments", connection=client)
    mended = tmp_path / "mended"
    for number in range(12):
        path = mended if number < 4 else tmp_path / "never"
        queue.enqueue(fails_unless, str(path), "", job_id=f"real-{number:02}")

    def work() -> None:
        InProcessWorker([queue], connection=client).work(burst=True)
        for loop in (Sampler(lease), Scanner(lease)):
            assert lease.renew()
            loop.tick()

    work()
    operation = planned(canary=Canary(count=4, min_success=100), stop_same_failure=50, rate_per_second=100)
    mended.touch()
    for _ in range(20):
        run(operation)
        work()
        controller()
        for message in OutboxMessage.objects.filter(published_at=None):
            enqueue_operation(message)
            message.delete()
        if operation.state != OperationState.RUNNING:
            break
    assert told("operation.canary_passed") == [
        f"Console jobs saw the canary of operation {operation.pk} pass: 4 succeeded"
    ]
    assert operation.canary_over_at is not None


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (Plan(Canary(0, 95)), "canary.count"),
        (Plan(Canary(10_001, 95)), "canary.count"),
        (Plan(Canary(5, 0)), "canary.min_success"),
        (Plan(Canary(5, 101)), "canary.min_success"),
        (Plan(Canary(5, 95, 9)), "canary.timeout"),
        (Plan(Canary(5, 95, 86_401)), "canary.timeout"),
        (Plan(rate_per_second=0), "rate_per_second"),
        (Plan(rate_per_second=100_001), "rate_per_second"),
        (Plan(stop_same_failure=0), "stop_same_failure"),
        (Plan(stop_same_failure=100), "stop_same_failure"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_field(cast: Cast, dead: Dead, plan: Plan, field: str) -> None:
    dead("a")
    with pytest.raises(Refused, match="Nothing was changed") as refused:
        requeue_create(actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter()), reason="x", plan=plan)
    assert refused.value.field == field and not Operation.objects.exists()
