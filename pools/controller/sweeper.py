"""Removes what has served its time, and wakes operations that wait or whose job was lost."""

from datetime import timedelta

import structlog
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from controlplane.models import SignInFailure, TokenPlace
from pools.broker.connection import get_broker
from pools.broker.console_queue import QUEUE
from pools.broker.events import sweep_agents
from pools.controller.console_jobs import job_prefix
from pools.controller.cron_slots import sweep_slots
from pools.controller.lease import LeaderLease
from pools.models import (
    DeadLetter,
    DeadLetterState,
    IdempotencyKey,
    NotificationDelivery,
    Operation,
    OperationItem,
    OperationState,
    OutboxMessage,
    Outcome,
    PayloadReveal,
    QueueState,
    SealedPayload,
    Worker,
)

DAY = timedelta(days=1)
KEEP_OUTBOX = 7 * DAY
KEEP_DELIVERIES = 30 * DAY
KEEP_HEARTBEATS = 86_400.0
STUCK_AFTER = timedelta(seconds=10)
HALTED = (OperationState.PAUSED, OperationState.STOPPED, OperationState.CANCELLED)
# Less than moving.lua keeps them: without its receipt a chunk would be sent as if for the first time.
RECEIPTS_LAST = 6 * DAY

log = structlog.get_logger(__name__)


class Sweeper:
    """Rows by their age; heartbeats of agents that fell silent a day ago."""

    name = "sweeper"
    interval = 600.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias

    def tick(self) -> bool:
        now = timezone.now()
        with self._lease.fenced():
            OutboxMessage.objects.filter(published_at__lt=now - KEEP_OUTBOX).delete()
            IdempotencyKey.objects.filter(created_at__lt=now - DAY).delete()
            SealedPayload.objects.filter(expires_at__lte=now).delete()
            PayloadReveal.objects.filter(expires_at__lte=now).delete()
            SignInFailure.objects.filter(at__lt=now - DAY).delete()
            TokenPlace.objects.filter(recorded_at__lt=now - DAY).delete()
            NotificationDelivery.objects.filter(created_at__lt=now - KEEP_DELIVERIES).delete()
            Worker.objects.filter(gone_at__lt=now - DAY).delete()
            sweep_slots(now)
            # The broker's keys have expired by themselves; what was discarded stays so.
            expired = DeadLetter.objects.filter(shelved_until__lte=now)
            expired.filter(state=DeadLetterState.ARCHIVED).update(state=DeadLetterState.GONE, closed_at=now)
            expired.update(shelved_until=None)
        sweep_agents(get_broker(self._alias), KEEP_HEARTBEATS)
        return False


class Waker:
    """Sends a new message for a running operation whose wait is over: for its canary, or for its turn."""

    name = "waker"
    interval = 0.25

    def __init__(self, lease: LeaderLease) -> None:
        self._lease = lease

    def tick(self) -> bool:
        due = Operation.objects.filter(state=OperationState.RUNNING, wake_at__lte=timezone.now())
        for operation in due.order_by("pk"):
            with self._lease.fenced():
                if due.filter(pk=operation.pk).update(wake_at=None):
                    OutboxMessage.objects.create(kind="operation", key=str(operation.pk), broker=operation.broker)
        return False


class Resumer:
    """Sends a new message for an operation that runs or is recalled, makes no progress and has no job in hand; and for
    one that was paused, stopped or cancelled while a chunk was under way that has no outcomes.

    A job dies with its worker; the operation's row and its frozen items do not.
    """

    name = "resumer"
    interval = 5.0

    def __init__(self, lease: LeaderLease) -> None:
        self._lease = lease

    def tick(self) -> bool:
        now = timezone.now()
        # What is under way is in front of what is pending.
        pending = OperationItem.objects.filter(operation=OuterRef("pk"), outcome=Outcome.PENDING).order_by("position")
        under_way = Q(state__in=HALTED, under_way__isnull=False, progressed_at__gt=now - RECEIPTS_LAST)
        at_work = Q(state=OperationState.RUNNING, wake_at=None) | ~Q(recall={}) | under_way
        stuck = Operation.objects.alias(under_way=Subquery(pending.values("at")[:1])).filter(at_work)
        for operation in stuck.filter(progressed_at__lt=now - STUCK_AFTER).order_by("pk"):
            if not self._in_hand(operation):
                log.warning("operation.resumed_by_controller", operation=operation.pk)
                with self._lease.fenced():
                    OutboxMessage.objects.create(kind="operation", key=str(operation.pk), broker=operation.broker)
        return False

    def _in_hand(self, operation: Operation) -> bool:
        """Is it on its way to a job, waiting in the queue or being run?"""
        since = timezone.now() - STUCK_AFTER
        messages = OutboxMessage.objects.filter(kind="operation", key=str(operation.pk))
        return (
            messages.filter(published_at=None).exists()
            or messages.filter(published_at__gt=since).exists()
            or QueueState.objects.filter(broker=operation.broker, name=QUEUE, depth__gt=0).exists()
            or Worker.objects.filter(
                broker=operation.broker, gone_at=None, current_job_id__startswith=job_prefix(operation.pk)
            ).exists()
        )
