"""An operation under way: start, pause, resume, cancel, change its rate."""

from typing import Any

from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import Operation, OperationKind, OperationState, Outcome, Pool, SealedPayload
from pools.models.operation import TRANSITIONS
from pools.operations.base import append_outbox, clean_reason
from pools.operations.dead_letters import PERMISSIONS
from pools.operations.errors import Refused
from pools.operations.limits import decide
from pools.operations.plan import check_rate
from pools.permissions import require
from pools.selectors.operations import operation_target
from pools.selectors.progress import rate_phrase

FIXED = (OperationState.AWAITING, OperationState.CANCELLED, OperationState.ENDED)
"""What they are about is being judged, or over: nothing about it can be changed."""


@operation("operation.started")
def operation_start(*, actor: Actor, operation: Operation, reason: str = "") -> Operation:
    """Send a frozen operation on its way."""
    return _move(actor, operation, "start", "operation.started", reason)


@operation("operation.paused")
def operation_pause(*, actor: Actor, operation: Operation, reason: str = "") -> Operation:
    """Stop after the chunk that is under way."""
    return _move(actor, operation, "pause", "operation.paused", reason)


@operation("operation.resumed")
def operation_resume(*, actor: Actor, operation: Operation, reason: str = "") -> Operation:
    """Go on. One that stopped by itself goes on at the actor's word: a canary counts as decided, and the share of
    returning failures is counted anew."""
    return _move(actor, operation, "resume", "operation.resumed", reason)


@operation("operation.cancelled")
def operation_cancel(*, actor: Actor, operation: Operation, reason: str = "") -> Operation:
    """What was sent, or is under way, stays sent; the rest keeps its place among the dead letters."""
    return _move(actor, operation, "cancel", "operation.cancelled", reason)


@operation("operation.rate_changed")
def operation_rate(*, actor: Actor, operation: Operation, rate_per_second: int | None, reason: str = "") -> Operation:
    """Send at most so many jobs a second from now on; None: as fast as it goes. Raises ``Denied``, ``Refused``."""
    row, pools = locked_operation(actor, operation)
    reason = clean_reason(reason) if reason.strip() else ""
    if rate_per_second is not None:
        check_rate(rate_per_second)
    if row.state in FIXED:
        raise Refused(
            "", f"Operation {row.pk} is {row.get_state_display().lower()}: it sends nothing. Nothing changed."
        )
    if row.rate_per_second == rate_per_second:
        raise Refused("rate_per_second", f"It sends {rate_phrase(rate_per_second)} already. Nothing was changed.")
    before, row.rate_per_second = row.rate_per_second, rate_per_second
    row.save(update_fields=["rate_per_second"])
    record(
        actor=actor,
        action="operation.rate_changed",
        target=operation_target(row, sorted(pool.slug for pool in pools)),
        before={"rate_per_second": before},
        after={"rate_per_second": rate_per_second},
        reason=reason,
        detail={"rate": rate_phrase(rate_per_second)},
    )
    return row


def locked_operation(actor: Actor, operation: Operation) -> tuple[Operation, list[Pool]]:
    """The row, locked and fresh, and its pools. Raises ``Denied``."""
    row = Operation.objects.select_for_update().get(pk=operation.pk)
    pools = list(row.pools.all())
    for pool in pools:
        require(actor, PERMISSIONS[OperationKind(row.kind)], pool)
    return row, pools


def _move(actor: Actor, row: Operation, verb: str, action: str, reason: str) -> Operation:
    row, pools = locked_operation(actor, row)
    return change_state(actor, row, pools, verb, action, reason)


def change_state(
    actor: Actor, row: Operation, pools: list[Pool], verb: str, action: str, reason: str, **more: Any
) -> Operation:
    """Lead a locked operation along ``TRANSITIONS`` and record it; ``more`` joins the event's detail.

    The permission was checked by the caller. Raises ``Refused``.
    """
    after = TRANSITIONS[OperationState(row.state)].get(verb)
    if after is None:
        raise Refused(
            "", f"Operation {row.pk} is {row.get_state_display().lower()}: it cannot {verb}. Nothing changed."
        )
    if row.recall and after == OperationState.RUNNING:
        raise Refused(
            "", f"Operation {row.pk} is being recalled: it cannot {verb} before that is done. Nothing changed."
        )
    must_say = row.state == OperationState.STOPPED and verb == "resume"
    reason = clean_reason(reason) if must_say or reason.strip() else ""
    before, row.state = row.state, after
    now = timezone.now()
    row.progressed_at = now
    detail = more
    if before == OperationState.AWAITING:
        decide(row, verb, actor, reason)
    if must_say:
        detail["stopped_because"] = row.stopped_because
        _lift_guards(row)
    if after == OperationState.CANCELLED:
        row.ended_at = now
        coming = row.items.filter(outcome=Outcome.PENDING)
        if row.sent_to is not None:
            coming = coming.filter(position__gt=row.sent_to)
        coming.update(outcome=Outcome.CANCELLED, at=now)
        SealedPayload.objects.filter(operation=row, operation__items__outcome=Outcome.CANCELLED).delete()
    row.save()
    record(
        actor=actor,
        action=action,
        target=operation_target(row, sorted(pool.slug for pool in pools)),
        before={"state": str(before)},
        after={"state": str(after)},
        reason=reason,
        detail=detail,
    )
    # A cancelled one runs once more: a process that died may have left a chunk whose fate nobody has written down.
    if after in (OperationState.RUNNING, OperationState.CANCELLED):
        append_outbox("operation", str(row.pk), broker=row.broker)
    return row


def _lift_guards(row: Operation) -> None:
    row.stopped_because = ""
    if row.has_open_canary and row.canary_sent_at:
        row.canary_over_at = timezone.now()
    row.guarded_from = {"known": sum(row.effects.values()), "same": row.same_failures}
