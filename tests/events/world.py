"""The scene of these tests: one of everything that a request can be about."""

from dataclasses import dataclass
from typing import Any

import redis
from django.utils import timezone

from audit.actor import Actor
from audit.models import SavedFilter
from audit.recorder import record
from audit.sequencer import Sequencer
from audit.target import Target
from pools.broker.connection import Broker
from pools.controller.lease import LeaderLease
from pools.models import (
    DeadLetter,
    Effect,
    FailureGroup,
    GroupState,
    NotificationChannel,
    Operation,
    OperationState,
    Outcome,
    Pool,
    RunState,
    SavedView,
    SecretReference,
)
from pools.operations import Selection, discard_create, operation_pause, payload_reveal, requeue_create
from pools.operations.execute import run_operation
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast

JOBS = ("job-1", "job-2", "job-3")


@dataclass
class World:
    """``payments`` runs and has two versions and three dead letters, which four operations of Bob's are about: of
    ``sent``, one job failed again and the others are queued. A fifth, ``discarded``, moved ``thrown`` to the trash.
    The payload of ``job-2`` is open to him. ``refunds`` is paused; ``asked``, there, awaits an approval. Their
    ``group`` is new, another is ``snoozed``, a third ``resolved``. ``filter`` is Otto's, ``view`` Bob's. The log's
    event 0 holds an address."""

    cast: Cast
    payments: Pool
    refunds: Pool
    letters: list[DeadLetter]
    group: FailureGroup
    snoozed: FailureGroup
    resolved: FailureGroup
    frozen: Operation
    running: Operation
    paused: Operation
    asked: Operation
    sent: Operation
    discarded: Operation
    thrown: DeadLetter
    secret: SecretReference
    channel: NotificationChannel
    filter: SavedFilter
    view: SavedView
    broker: Broker
    client: redis.Redis
    lease: LeaderLease

    def person(self, name: str) -> Any:
        return getattr(self.cast, name)


def make_world(broker: Broker) -> World:
    cast = make_cast()
    record(
        actor=Actor(kind="user", id="7", name="ana", address="10.8.4.21"),
        action="pool.paused",
        target=Target("pool", "1", "payments", "payments"),
    )
    cast.alice.set_password("correct horse battery")
    cast.alice.save()
    payments = make.pool(cast.payments, versions=2)
    refunds = make.pool(cast.payments, "refunds", run_state=RunState.PAUSED, approval_limit=0)
    client = redis.Redis.from_url(broker.url)
    write_failed(client, *JOBS, queue="payments")
    failed(payments, *JOBS)
    letters = list(DeadLetter.objects.order_by("pk"))
    bob, chosen = actor(cast.bob), Selection(ids=tuple(letter.pk for letter in letters))
    frozen, running, waits, sent = (
        requeue_create(actor=bob, selection=chosen, reason="The gateway is back", start=start)
        for start in (False, True, True, True)
    )
    failed(refunds, "job-9")
    one = Selection(ids=(DeadLetter.objects.get(job_id="job-9").pk,))
    asked = requeue_create(actor=bob, selection=one, reason="The gateway is back")
    sent.items.update(outcome=Outcome.REQUEUED, at=timezone.now())
    sent.items.filter(job_id=JOBS[0]).update(effect=Effect.FAILED_AGAIN, same_failure=True)
    Operation.objects.filter(pk=sent.pk).update(state=OperationState.ENDED, ended_at=timezone.now())
    paused = operation_pause(actor=bob, operation=waits)
    thrown = make.dead_letter(letters[0].group, "job-4")
    write_failed(client, "job-4", queue="payments")
    discarded = discard_create(actor=bob, selection=Selection(ids=(thrown.pk,)), reason="Test data")
    run_operation(discarded.pk)
    payload_reveal(actor=bob, job_id="job-2", reason="Which order is it?")
    Sequencer().tick()
    lease = LeaderLease()
    assert lease.renew()
    return World(
        cast=cast,
        payments=payments,
        refunds=refunds,
        letters=letters,
        group=letters[0].group,
        snoozed=make.failure_group(payments, "KeyError: 'vat'", snoozed_total=100),
        resolved=make.failure_group(payments, "ValueError: no", state=GroupState.RESOLVED),
        frozen=frozen,
        running=running,
        paused=paused,
        asked=asked,
        sent=sent,
        discarded=discarded,
        thrown=thrown,
        secret=SecretReference.objects.create(
            name="gateway-key", uri="file:///run/secrets/gateway-key", team=cast.payments
        ),
        channel=make.channel(cast.payments),
        filter=SavedFilter.objects.create(owner_id=str(cast.otto.pk), name="pauses", query="action=pool.paused"),
        view=SavedView.objects.create(
            owner_id=str(cast.bob.pk), owner_name="bob", name="timeouts", query="error=TimeoutError"
        ),
        broker=broker,
        client=client,
        lease=lease,
    )
