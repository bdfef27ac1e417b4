"""A recall: what no worker has begun is a dead letter again, in the broker and in the tables, and all is counted."""

from collections.abc import Callable

import pytest
import redis
from pytest_django import Settings

from audit.models import Event
from audit.sentences import sentence
from pools.broker.connection import BrokerUnavailable
from pools.controller.effects import Effects
from pools.controller.lease import LeaderLease
from pools.controller.sweeper import Resumer
from pools.models import DeadLetter, DeadLetterState, FailureGroup, Operation, OperationState, OutboxMessage
from pools.operations import (
    Plan,
    Selection,
    operation_again,
    operation_cancel,
    operation_recall,
    operation_resume,
    requeue_create,
)
from pools.operations import recall as recalling
from pools.operations.errors import Refused
from pools.operations.execute import run_operation
from pools.permissions import Denied
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import numbered
from tests.operations.conftest import Made
from tests.support import factories as make
from tests.support.cast import Cast, actor
from tests.support.valkey import free_port

type Dead = Callable[..., FailureGroup]

IDS = numbered(7)


@pytest.fixture
def lease(db: None) -> LeaderLease:
    return LeaderLease()


@pytest.fixture
def look(lease: LeaderLease) -> Callable[[], None]:
    def tick() -> None:
        assert lease.renew()
        Effects(lease).tick()

    return tick


def taken(client: redis.Redis, status: str, *ids: str) -> None:
    for job_id in ids:
        client.lrem("rq:queue:payments", 1, job_id)
        client.hset(f"rq:job:{job_id}", "status", status)


def outcomes(operation: Operation) -> dict[str, int]:
    operation.refresh_from_db()
    counts = operation.outcome_counts()
    assert sum(counts.values()) == operation.frozen_count
    return counts


def test_what_is_still_queued_comes_back(
    cast: Cast, dead: Dead, requeue: Made, client: redis.Redis, look: Callable[[], None]
) -> None:
    group = dead(*IDS)
    operation = requeue()
    run_operation(operation.pk)
    taken(client, "started", IDS[0])
    taken(client, "finished", IDS[1])
    look()
    operation_recall(actor=actor(cast.bob), operation=operation, reason="Wrong group")
    assert operation_id() == str(operation.pk)
    assert run_operation(operation.pk) == f"operation {operation.pk} is ended"
    assert outcomes(operation) == {"recalled": 5, "requeued": 2} and operation.recall == {}
    assert client.zcard("rq:failed:payments") == 5 and client.llen("rq:queue:payments") == 0
    states = dict(DeadLetter.objects.values_list("job_id", "state"))
    assert states == dict.fromkeys(IDS[:2], "requeued") | dict.fromkeys(IDS[2:], "open")
    group.refresh_from_db()
    assert group.open_count == 5
    begun, done = (Event.objects.get(action=f"operation.{name}") for name in ("recall_started", "recalled"))
    assert sentence(begun) == f"bob set out to recall operation {operation.pk}"
    assert sentence(done) == f"Console jobs recalled 5 queued jobs of operation {operation.pk}"
    assert (begun.outcome, begun.reason, done.reason) == ("intent", "Wrong group", "Wrong group")
    assert done.detail["started_by"] == "bob"
    taken(client, "finished", IDS[0])
    look()
    operation.refresh_from_db()
    assert operation.effects == {"succeeded": 2} and operation.effect_at is not None
    assert not client.keys("pw:moved:*")


def operation_id() -> str:
    return OutboxMessage.objects.latest("pk").key


def test_one_that_sends_is_paused_first(cast: Cast, dead: Dead, client: redis.Redis) -> None:
    dead(*numbered(40))
    chosen = Selection(filter=DeadLetterFilter())
    row = requeue_create(actor=actor(cast.bob), selection=chosen, reason="Slowly", plan=Plan(rate_per_second=2))
    run_operation(row.pk)
    row = operation_recall(actor=actor(cast.bob), operation=row, reason="Wrong group")
    assert row.state == OperationState.PAUSED
    with pytest.raises(Refused, match="is being recalled"):
        operation_resume(actor=actor(cast.bob), operation=row)
    with pytest.raises(Refused, match="is being recalled already"):
        operation_recall(actor=actor(cast.bob), operation=row, reason="Wrong group")
    run_operation(row.pk)
    assert set(outcomes(row)) == {"pending", "recalled"} and client.llen("rq:queue:payments") == 0
    operation_resume(actor=actor(cast.bob), operation=row)
    operation_cancel(actor=actor(cast.bob), operation=row, reason="All of it")


def test_nobody_tells_effects_while_it_is_under_way(
    cast: Cast,
    dead: Dead,
    requeue: Made,
    client: redis.Redis,
    look: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that dies between the broker and the database: the next one learns from the receipt what moved."""
    monkeypatch.setattr(recalling, "CHUNK", 3)
    dead(*IDS)
    operation = requeue()
    run_operation(operation.pk)
    row = operation_recall(actor=actor(cast.bob), operation=operation, reason="Wrong group")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recalling, "_settle", die)
        with pytest.raises(KeyboardInterrupt):
            run_operation(row.pk)
    assert client.zcard("rq:failed:payments") == 3
    look()
    assert outcomes(operation) == {"requeued": 7} and operation.effects == {}
    run_operation(row.pk)
    assert outcomes(operation) == {"recalled": 7}
    assert Event.objects.get(action="operation.recalled").after == {"recalled": 7}
    assert Event.objects.filter(action="operation.recalled").count() == 1


def test_a_recall_whose_job_was_lost_is_resumed(cast: Cast, dead: Dead, requeue: Made, lease: LeaderLease) -> None:
    dead("a")
    operation = requeue()
    run_operation(operation.pk)
    operation_recall(actor=actor(cast.bob), operation=operation, reason="Wrong group")
    OutboxMessage.objects.all().delete()
    Operation.objects.update(progressed_at=make.ago(minutes=1))
    assert lease.renew()
    Resumer(lease).tick()
    assert OutboxMessage.objects.count() == 1


def test_a_broker_that_is_away_leaves_it_to_the_next(cast: Cast, dead: Dead, requeue: Made, settings: Settings) -> None:
    dead("a")
    operation = requeue()
    run_operation(operation.pk)
    operation_recall(actor=actor(cast.bob), operation=operation, reason="Wrong group")
    here = settings.POOLWARDEN_BROKERS
    settings.POOLWARDEN_BROKERS = {
        "default": {"url": f"redis://127.0.0.1:{free_port()}/0", "prefix": "rq", "region": ""}
    }
    with pytest.raises(BrokerUnavailable):
        run_operation(operation.pk)
    settings.POOLWARDEN_BROKERS = here
    run_operation(operation.pk)
    assert outcomes(operation) == {"recalled": 1}


def test_who_may_and_when(
    cast: Cast, dead: Dead, requeue: Made, discard: Made, client: redis.Redis, look: Callable[[], None]
) -> None:
    dead("a", "b", "c")
    away, back = discard("c"), requeue("a", "b")
    with pytest.raises(Refused, match="Only a requeue"):
        operation_recall(actor=actor(cast.bob), operation=away, reason="x")
    with pytest.raises(Refused, match="No job of operation"):
        operation_recall(actor=actor(cast.bob), operation=back, reason="x")
    run_operation(back.pk)
    with pytest.raises(Denied):
        operation_recall(actor=actor(cast.vera), operation=back, reason="x")
    with pytest.raises(Refused, match="Say why"):
        operation_recall(actor=actor(cast.bob), operation=back, reason=" ")
    taken(client, "finished", "a", "b")
    look()
    with pytest.raises(Refused, match="No job of operation"):
        operation_recall(actor=actor(cast.bob), operation=back, reason="x")
    assert not Event.objects.filter(action="operation.recall_started", outcome="intent").exists()


def test_again_takes_those_that_failed_again_and_are_dead(
    cast: Cast, dead: Dead, requeue: Made, client: redis.Redis, look: Callable[[], None]
) -> None:
    dead(*IDS)
    operation = requeue()
    run_operation(operation.pk)
    with pytest.raises(Refused, match="No open dead letter"):
        operation_again(actor=actor(cast.bob), operation=operation, reason="Now it works")
    taken(client, "finished", *IDS[:4])
    taken(client, "failed", *IDS[4:])
    DeadLetter.objects.filter(job_id__in=IDS[4:6]).reopen(DeadLetterState.REQUEUED)
    look()
    made = operation_again(actor=actor(cast.bob), operation=operation, reason="Now it works")
    assert (made.state, made.frozen_count, made.again_of) == ("frozen", 2, operation)
    assert set(made.items.values_list("job_id", flat=True)) == set(IDS[4:6])
    assert Event.objects.latest("pk").detail["failed_in"] == operation.pk
    with pytest.raises(Denied):
        operation_again(actor=actor(cast.vera), operation=operation, reason="Now it works")
