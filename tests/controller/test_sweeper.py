"""What is removed by its age, and operations whose job was lost."""

from datetime import timedelta

import pytest
import redis
from django.contrib.auth.models import User
from django.utils import timezone
from rq import Queue
from rq.registry import StartedJobRegistry

from controlplane.models import SignInFailure
from pools.broker.connection import Broker
from pools.controller.console_jobs import enqueue_operation
from pools.controller.lease import LeaderLease
from pools.controller.relay import Relay
from pools.controller.sampler import Sampler
from pools.controller.sweeper import Resumer, Sweeper
from pools.models import (
    IdempotencyKey,
    Operation,
    OperationState,
    OutboxMessage,
    Outcome,
    PayloadReveal,
    Pool,
    Team,
    Worker,
)
from tests.controller.beats import FakeAgent
from tests.controller.conftest import Tick
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def pool(team: Team) -> Pool:
    return factories.pool(team)


@pytest.fixture
def relay(lease: LeaderLease) -> Relay:
    return Relay(lease, {"operation": enqueue_operation})


@pytest.fixture
def operation(team: Team) -> Operation:
    """One that should be running and has made no progress for a minute."""
    made = Operation.objects.create(
        kind="requeue", reason="fixed", created_by=User.objects.create(username="bob"), frozen_count=3
    )
    Operation.objects.update(progressed_at=factories.ago(minutes=1))
    return made


def jobs(client: redis.Redis) -> list[str]:
    return list(Queue("console", connection=client).job_ids)


def test_rows_go_by_their_age(lease: LeaderLease, broker: Broker, tick: Tick, pool: Pool) -> None:
    user = User.objects.create(username="alice")
    for days in (0.9, 1.1):
        old = factories.ago(days=days)
        factories.worker(pool, f"w{days}", gone_at=old)
        key = IdempotencyKey.objects.create(user=user, key=str(days), request_sha256="", status=200, body={})
        IdempotencyKey.objects.filter(pk=key.pk).update(created_at=old)
        failure = SignInFailure.objects.create(username_sha256="", address="")
        SignInFailure.objects.filter(pk=failure.pk).update(at=old)
    for minutes in (-1, 1):
        PayloadReveal.objects.create(user=user, job_id=str(minutes), expires_at=factories.ago(minutes=minutes))
    factories.worker(pool, "alive")
    for days in (6.9, 7.1):
        OutboxMessage.objects.create(kind="config", key=str(days), published_at=factories.ago(days=days))
    channel, group = factories.channel(pool.team), factories.failure_group(pool)
    for days in (29.9, 30.1):
        delivery = channel.deliveries.create(payload={"days": days})
        channel.notices.create(group=group, occasion="new", delivery=delivery)
        channel.deliveries.filter(pk=delivery.pk).update(created_at=factories.ago(days=days))
    waiting = OutboxMessage.objects.create(kind="config", key="waiting")
    OutboxMessage.objects.filter(pk=waiting.pk).update(created_at=factories.ago(days=99))
    tick(Sweeper(lease))
    assert set(Worker.objects.values_list("name", flat=True)) == {"w0.9", "alive"}
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["0.9"]
    assert SignInFailure.objects.count() == 1
    assert list(PayloadReveal.objects.values_list("job_id", flat=True)) == ["-1"]
    assert set(OutboxMessage.objects.values_list("key", flat=True)) == {"6.9", "waiting"}
    assert [(row.payload, row.notices.count()) for row in channel.deliveries.all()] == [({"days": 29.9}, 1)]


def test_heartbeats_of_yesterday_go(lease: LeaderLease, broker: Broker, tick: Tick, client: redis.Redis) -> None:
    now = timezone.now().timestamp()
    FakeAgent(client, "old").beat(at=now - 86_500)
    FakeAgent(client, "new").beat(at=now - 86_300)
    tick(Sweeper(lease))
    assert client.hkeys("pw:agents") == [b"new"]


def test_a_message_makes_one_job_however_often_it_comes(
    relay: Relay, tick: Tick, client: redis.Redis, operation: Operation
) -> None:
    message = OutboxMessage.objects.create(kind="operation", key=str(operation.pk))
    tick(relay)
    OutboxMessage.objects.update(published_at=None)
    tick(relay)
    assert jobs(client) == [f"operation-{operation.pk}-{message.pk}"]
    job = Queue("console", connection=client).fetch_job(jobs(client)[0])
    assert job is not None and job.func_name == "pools.operations.execute.run_operation"
    assert job.args == (operation.pk,)


def test_an_operation_whose_job_was_lost_gets_another(
    lease: LeaderLease, relay: Relay, tick: Tick, client: redis.Redis, operation: Operation
) -> None:
    tick(Resumer(lease))
    tick(Resumer(lease))
    tick(relay)
    tick(Resumer(lease))
    tick(relay)
    assert len(jobs(client)) == 1, "a message on its way or just delivered is enough"


def test_an_operation_in_hand_is_left_alone(
    lease: LeaderLease, broker: Broker, tick: Tick, client: redis.Redis, operation: Operation
) -> None:
    OutboxMessage.objects.create(
        kind="operation", key=str(operation.pk), published_at=timezone.now() - timedelta(minutes=1)
    )
    queue = Queue("console", connection=client)
    queue.enqueue("pools.operations.execute.run_operation", operation.pk)
    tick(Sampler(lease))
    tick(Resumer(lease))
    assert OutboxMessage.objects.count() == 1, "its job waits in the queue"
    queue.empty()
    tick(Sampler(lease))
    worker = factories.worker(Pool.objects.get(slug="console"), current_job_id=f"operation-{operation.pk}-1")
    tick(Resumer(lease))
    assert OutboxMessage.objects.count() == 1, "a worker runs it"
    Worker.objects.filter(pk=worker.pk).update(gone_at=timezone.now())
    tick(Resumer(lease))
    assert OutboxMessage.objects.count() == 2, "that worker is gone"
    assert StartedJobRegistry("console", connection=client).get_job_ids(cleanup=False) == []


@pytest.mark.parametrize("state", [state for state in OperationState if state != OperationState.RUNNING])
def test_only_a_running_operation_is_resumed(
    lease: LeaderLease, tick: Tick, operation: Operation, state: OperationState
) -> None:
    Operation.objects.update(state=state)
    tick(Resumer(lease))
    assert not OutboxMessage.objects.exists()


HALTED = [OperationState.PAUSED, OperationState.STOPPED, OperationState.CANCELLED]


@pytest.mark.parametrize("state", HALTED)
def test_what_was_under_way_when_it_was_halted_gets_its_outcomes(
    lease: LeaderLease, tick: Tick, pool: Pool, operation: Operation, state: OperationState
) -> None:
    """Its process died with the chunk in hand: what the broker did is not known."""
    group = factories.failure_group(pool)
    letters = [factories.dead_letter(group, f"job-{n}") for n in range(4)]
    for place, letter in enumerate(letters):
        operation.items.create(
            position=place,
            job_id=letter.job_id,
            dead_letter=letter,
            group=letter.group,
            at=factories.ago(minutes=1) if place < 3 else None,
            outcome=Outcome.PENDING if place else Outcome.REQUEUED,
        )
    Operation.objects.update(state=state)
    tick(Resumer(lease))
    assert OutboxMessage.objects.get().key == str(operation.pk)
    OutboxMessage.objects.all().delete()
    Operation.objects.update(progressed_at=factories.ago(days=8))
    tick(Resumer(lease))
    assert not OutboxMessage.objects.exists(), "its receipt is gone by then"
    operation.items.filter(at__isnull=False).update(outcome=Outcome.REQUEUED)
    Operation.objects.update(progressed_at=factories.ago(minutes=1))
    tick(Resumer(lease))
    assert not OutboxMessage.objects.exists(), "what was never sent stays"


def test_progress_is_a_sign_of_life(lease: LeaderLease, tick: Tick, operation: Operation) -> None:
    Operation.objects.update(progressed_at=factories.ago(seconds=5))
    tick(Resumer(lease))
    assert not OutboxMessage.objects.exists()
