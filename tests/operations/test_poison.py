"""The guard against poison: requeues that came to nothing are counted, and at the pool's limit the job is set aside."""

from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from rq import Queue, Retry

from audit.models import Event
from pools.controller.lease import LeaderLease
from pools.controller.quarantine import QuarantineGuard
from pools.models import DeadLetter, FailureGroup, Operation, OutboxMessage, Pool
from pools.operations import Selection, guard_quarantine, operation_undo, requeue_create
from pools.operations.execute import run_operation
from pools.selectors.dead_letters import DeadLetterFilter
from tests.broker.jobs import fails, fails_unless
from tests.operations.test_effects import Look, Work, lease, look, work
from tests.operations.test_execute import letters, outcomes
from tests.support import factories as make
from tests.support.cast import Cast, actor
from tests.support.waiting import wait_for

__all__ = ["lease", "look", "work"]

type Round = Callable[..., Operation]
type Guard = Callable[[], list[Operation]]
ALL = Selection(filter=DeadLetterFilter())


@pytest.fixture
def mail(payments: Pool) -> Pool:
    """``payments`` serves the queue on which the jobs run."""
    payments.queues = ["mail"]
    payments.save()
    make.config_version(payments, 2, make.spec(queues=["mail"]))
    return payments


@pytest.fixture
def once_more(cast: Cast, look: Look, work: Work) -> Round:
    """Bob requeues; the jobs run, and the controller sees how they ended."""

    def run(selection: Selection = ALL) -> Operation:
        row = requeue_create(actor=actor(cast.bob), selection=selection, reason="The gateway is back")
        run_operation(row.pk)

        def is_judged() -> bool:
            """RQ's scores are whole seconds: one that fails twice in a second is found by the scanner's second look."""
            work()
            look()
            return not row.items.filter(same_failure=None).exists()

        wait_for(is_judged, message="it is known why the jobs failed again")
        return row

    return run


@pytest.fixture
def guard(lease: LeaderLease) -> Guard:
    """One tick; the operations that it made, carried out."""
    loop = QuarantineGuard(lease, guard_quarantine)

    def tick() -> list[Operation]:
        before = set(Operation.objects.values_list("pk", flat=True))
        assert lease.renew()
        assert loop.tick() is False
        made = list(Operation.objects.exclude(pk__in=before))
        for row in made:
            run_operation(row.pk)
        return made

    return tick


def times() -> dict[str, int]:
    return dict(DeadLetter.objects.values_list("job_id", "came_back"))


def test_the_third_requeue_that_comes_back_is_the_last(
    mail: Pool, client: redis.Redis, work: Work, once_more: Round, guard: Guard
) -> None:
    queue = Queue("mail", connection=client)
    for job_id in ("a", "b"):
        queue.enqueue(fails, job_id=job_id)
    work()
    for n in (1, 2):
        once_more()
        assert times() == {"a": n, "b": n} and guard() == []
    once_more(Selection(ids=(DeadLetter.objects.get(job_id="a").pk,)))
    (made,) = guard()
    assert (made.kind, made.actor_kind, made.actor_name, made.created_by) == (
        "quarantine",
        "system",
        "controller",
        None,
    )
    assert outcomes(made) == {"quarantined": 1} and letters() == {"a": "quarantined", "b": "open"}
    started = Event.objects.get(action="operation.quarantine_started")
    assert (started.actor_kind, started.pool, started.outcome) == ("system", "payments", "intent")
    assert started.reason == "Came back with the same failure after 3 requeues"
    assert OutboxMessage.objects.filter(key=str(made.pk)).count() == 1
    assert guard() == [] and FailureGroup.objects.get().open_count == 1


def test_rqs_own_retries_are_no_requeues(mail: Pool, client: redis.Redis, work: Work, once_more: Round) -> None:
    Queue("mail", connection=client).enqueue(fails, job_id="a", retry=Retry(max=4))
    work()
    assert times() == {"a": 0}
    once_more()
    assert times() == {"a": 1}


def test_another_cause_begins_anew(
    mail: Pool, client: redis.Redis, work: Work, once_more: Round, tmp_path: Path
) -> None:
    Queue("mail", connection=client).enqueue(fails_unless, str(tmp_path / "mended"), job_id="a")
    work()
    once_more()
    once_more()
    client.hset("rq:job:a", "data", b"x")
    once_more()
    assert times() == {"a": 0} and FailureGroup.objects.count() == 2


def test_a_pool_may_have_another_limit_or_none(mail: Pool, client: redis.Redis, guard: Guard) -> None:
    group = make.failure_group(mail)
    make.dead_letter(group, "a", came_back=9)
    Pool.objects.update(poison_after=0)
    assert guard() == []
    Pool.objects.update(poison_after=10)
    assert guard() == []
    Pool.objects.update(poison_after=9)
    assert len(guard()) == 1


def test_what_was_restored_may_try_again(
    cast: Cast, mail: Pool, client: redis.Redis, work: Work, once_more: Round, guard: Guard
) -> None:
    Queue("mail", connection=client).enqueue(fails, job_id="a")
    work()
    Pool.objects.update(poison_after=1)
    once_more()
    (made,) = guard()
    undo = operation_undo(actor=actor(cast.bob), operation=made, reason="The cause is gone")
    run_operation(undo.pk)
    assert letters() == {"a": "open"} and times() == {"a": 0} and guard() == []
    once_more()
    assert len(guard()) == 1


def test_a_requeue_skips_poison_unless_it_is_named(cast: Cast, mail: Pool, client: redis.Redis) -> None:
    group = make.failure_group(mail, open_count=2)
    poison, _ = (make.dead_letter(group, job_id, came_back=n) for job_id, n in (("a", 3), ("b", 2)))
    row = requeue_create(actor=actor(cast.bob), selection=ALL, reason="The gateway is back", expected_count=2)
    assert dict(row.items.values_list("job_id", "outcome")) == {"a": "poison", "b": "pending"}
    run_operation(row.pk)
    poison.refresh_from_db()
    assert poison.state == "open" and outcomes(row) == {"gone": 1, "poison": 1}
    named = requeue_create(actor=actor(cast.bob), selection=Selection(ids=(poison.pk,)), reason="I know")
    assert outcomes(named) == {"pending": 1}


def test_one_quarantine_of_the_guard_at_a_time(mail: Pool, lease: LeaderLease) -> None:
    group = make.failure_group(mail)
    make.dead_letter(group, "a", came_back=3)
    loop = QuarantineGuard(lease, guard_quarantine)
    for _ in range(3):
        assert lease.renew()
        loop.tick()
    assert Operation.objects.count() == 1
