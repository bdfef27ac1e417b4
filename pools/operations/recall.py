"""Recall: what a requeue sent and no worker has begun goes back among the dead letters.

Asked for by a person, carried out by a job of the console: newest first, a chunk in one Lua script with a receipt, and
then its outcomes in one transaction which moves the mark ``below`` on. While it is under way nobody writes effects, so
a process that dies leaves exactly the chunk that the next one sends again.
"""

from django.db import transaction
from django.utils import timezone

from audit.actor import Actor, system_actor
from audit.operation import operation
from audit.recorder import record
from pools.broker.connection import get_broker
from pools.broker.moves import Failure, forget, recall
from pools.broker.moves import Outcome as Moved
from pools.models import DeadLetter, DeadLetterState, Operation, OperationItem, OperationKind, OperationState, Outcome
from pools.operations.base import append_outbox, clean_reason
from pools.operations.errors import Refused
from pools.operations.guards import ACTOR
from pools.operations.moves import locked_operation
from pools.selectors.operations import operation_target
from pools.selectors.progress import open_items

CHUNK = 500


@operation("operation.recall_started")
def operation_recall(*, actor: Actor, operation: Operation, reason: str) -> Operation:
    """Bring back what still waits in its queue; what runs already stays. One that is sending is paused first.

    Raises ``Denied``, ``Refused``.
    """
    row, pools = locked_operation(actor, operation)
    reason = clean_reason(reason)
    if row.kind != OperationKind.REQUEUE:
        raise Refused("", "Only a requeue to the same queue can be recalled. Nothing was changed.")
    if row.recall:
        raise Refused("", f"Operation {row.pk} is being recalled already. Nothing was changed.")
    waiting = open_items(row).count()
    if not waiting:
        raise Refused("", f"No job of operation {row.pk} is still queued. Nothing was changed.")
    before = row.state
    if row.state == OperationState.RUNNING:
        row.state = OperationState.PAUSED
    row.recall = {
        "below": row.frozen_count + 1,
        "recalled": 0,
        "reason": reason,
        "started_by": actor.name,
        "request_id": actor.request_id,
    }
    row.save(update_fields=["state", "recall"])
    record(
        actor=actor,
        action="operation.recall_started",
        target=operation_target(row, sorted(pool.slug for pool in pools)),
        before={"state": str(before)},
        after={"state": str(row.state)},
        outcome="intent",
        reason=reason,
        detail={"open": waiting},
    )
    append_outbox("operation", str(row.pk), broker=row.broker)
    return row


def recall_chunk(row: Operation) -> None:
    """Recall the next chunk, or say what it all came to. Raises ``BrokerUnavailable``."""
    below = row.recall["below"]
    waiting = open_items(row).filter(position__lt=below).select_related("dead_letter")
    items = list(waiting.order_by("-position")[:CHUNK])
    if not items:
        _end(row)
        return
    broker = get_broker(row.broker)
    receipt = broker.keys.moved(f"{row.pk}:recall:{below}")
    results = recall(broker, [_failure(item) for item in items], receipt)
    moved = {result.job_id for result in results if result.outcome == Moved.RECALLED}
    _settle(row, below, items, moved)
    forget(broker, receipt)


def _failure(item: OperationItem) -> Failure:
    letter = item.dead_letter
    return Failure(
        job_id=item.job_id,
        queue=item.queue,
        enqueued_at=letter.enqueued_at,
        started_at=letter.started_at,
        failed_at=letter.failed_at,
        expires_at=letter.expires_at,
    )


@transaction.atomic
def _settle(row: Operation, below: int, items: list[OperationItem], moved: set[str]) -> None:
    """Unless another process was first with this chunk."""
    row = Operation.objects.select_for_update().get(pk=row.pk)
    if row.recall.get("below") != below:
        return
    back = [item for item in items if item.job_id in moved]
    now = timezone.now()
    row.items.filter(pk__in=[item.pk for item in back]).update(outcome=Outcome.RECALLED, effect="", at=now)
    letters = DeadLetter.objects.filter(pk__in=[item.dead_letter_id for item in back])
    letters.reopen(DeadLetterState.REQUEUED)
    letters.update(score=None)  # it lies elsewhere; the scanner will find where
    row.recall |= {"below": items[-1].position, "recalled": row.recall["recalled"] + len(back)}
    row.progressed_at = now
    row.save(update_fields=["recall", "progressed_at"])


@transaction.atomic
def _end(row: Operation) -> None:
    row = Operation.objects.select_for_update().get(pk=row.pk)
    if not row.recall:
        return
    told, row.recall = row.recall, {}
    row.save(update_fields=["recall"])
    record(
        actor=system_actor(ACTOR),
        action="operation.recalled",
        target=operation_target(row, sorted(row.pools.values_list("slug", flat=True))),
        after={"recalled": told["recalled"]},
        reason=told["reason"],
        detail={name: told[name] for name in ("started_by", "request_id")},
    )
