"""Bulk work on dead letters: freeze a selection. ``execute`` does the moving."""

import hashlib
from collections.abc import Mapping
from typing import Any, TypedDict, Unpack

from django.db import connection
from django.db.models import F, QuerySet, Window
from django.db.models.functions import Collate, RowNumber

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import (
    DeadLetter,
    DeadLetterState,
    Operation,
    OperationItem,
    OperationKind,
    OperationState,
    Outcome,
    Pool,
    is_poison,
)
from pools.models.operation import PUTS_BACK, RUN_AGAIN
from pools.operations.base import append_outbox, clean_reason
from pools.operations.errors import Conflict, Refused
from pools.operations.limits import await_approval
from pools.operations.plan import Canary, Plan
from pools.operations.selection import Selection, select
from pools.permissions import DISCARD, REQUEUE, require, visible_pools
from pools.selectors.operations import operation_target
from pools.selectors.queues import Target

PERMISSIONS = {
    OperationKind.REQUEUE: REQUEUE,
    OperationKind.DISCARD: DISCARD,
    OperationKind.MOVE: REQUEUE,
    OperationKind.EDIT: REQUEUE,
    OperationKind.QUARANTINE: DISCARD,
    OperationKind.ARCHIVE: DISCARD,
    OperationKind.RESTORE: DISCARD,
}
AT_ONCE = Plan()


class How(TypedDict, total=False):
    """What whoever freezes a set may say beside why. ``expected_count``: what they were shown; ``start``: unless it is
    only to be frozen."""

    expected_count: int | None
    start: bool
    plan: Plan


@operation("operation.requeue_started")
def requeue_create(*, actor: Actor, selection: Selection, reason: str, **how: Unpack[How]) -> Operation:
    """Freeze the open dead letters of ``selection`` and send them back to their queues, as ``plan`` says.

    Raises ``Denied``, ``Refused``, ``Conflict``.
    """
    return create_operation(actor, OperationKind.REQUEUE, selection, reason, **how)


@operation("operation.discard_started")
def discard_create(*, actor: Actor, selection: Selection, reason: str, **how: Unpack[How]) -> Operation:
    """Freeze the dead letters of ``selection``, open or set aside, and throw them away. As ``requeue_create``."""
    return create_operation(actor, OperationKind.DISCARD, selection, reason, **how)


@operation("operation.requeue_started")
def operation_again(*, actor: Actor, operation: Operation, reason: str) -> Operation:
    """Freeze those that failed again after a requeue and are dead letters now, with the same plan. Nothing is sent.

    After a move they lie in the queue that they were moved to, and that is where they would go.

    Raises ``Denied``, ``Refused``.
    """
    for pool in operation.pools.all():
        require(actor, PERMISSIONS[OperationKind(operation.kind)], pool)
    if not operation.runs_again:
        raise Refused("", "Only the jobs of a requeue run and can fail again. Nothing was changed.")
    canary = None
    if operation.canary_count and operation.canary_min_success and operation.canary_timeout:
        canary = Canary(operation.canary_count, operation.canary_min_success, operation.canary_timeout)
    plan = Plan(canary, operation.rate_per_second, operation.stop_same_failure, operation.orphans_stay)
    chosen = Selection(failed_in=operation)
    return create_operation(actor, OperationKind.REQUEUE, chosen, reason, plan=plan, start=False)


def create_operation(
    actor: Actor,
    kind: OperationKind,
    selection: Selection,
    reason: str,
    *,
    expected_count: int | None = None,
    start: bool = True,
    plan: Plan = AT_ONCE,
    to: Target | None = None,
    more: Mapping[str, Any] | None = None,
) -> Operation:
    """Freeze the selection as an operation of this kind; start it, unless it is to wait.

    ``to``: of a move. ``more`` joins the event's detail.
    Raises ``Denied``, ``Refused``, ``Conflict``.
    """
    chosen, source = select(actor, selection, kind)
    touched = _touched(actor, kind, chosen, source)
    reason = clean_reason(reason)
    plan.check(requeues=kind in RUN_AGAIN)
    row = Operation.objects.create(
        kind=kind,
        state=OperationState.RUNNING if start else OperationState.FROZEN,
        broker=touched[0].broker,
        selection=selection.as_json(actor),
        source=source,
        reason=reason,
        created_by=actor.user,
        actor_kind=actor.kind,
        actor_name=actor.name,
        request_id=actor.request_id,
        frozen_count=0,
        ids_sha256="",
        again_of=selection.failed_in,
        to_queue=to.name if to else "",
        to_pool=to.pool if to else None,
        **plan.as_columns(),
    )
    row.frozen_count, row.ids_sha256 = _freeze(row, chosen)
    if expected_count is not None and row.frozen_count != expected_count:
        message = f"{row.frozen_count:,} dead letters match now, not {expected_count:,}. Nothing was changed."
        raise Conflict(message, row.frozen_count)
    if kind in RUN_AGAIN and not selection.ids:
        _skip_poison(row)
    row.pools.set([*touched, to.pool] if to else touched)
    needed = await_approval(row) if actor.user and kind not in PUTS_BACK else []
    row.save()
    _record(actor, row, needed, {**plan.as_detail(), **(more or {})})
    if start and not needed:
        append_outbox("operation", str(row.pk), broker=row.broker)
    return row


def _touched(actor: Actor, kind: OperationKind, chosen: QuerySet[DeadLetter], source: DeadLetterState) -> list[Pool]:
    """The pools of the dead letters, of one broker; the actor may do this on each. Raises ``Denied``, ``Refused``."""
    touched = list(visible_pools(actor).filter(pk__in=chosen.order_by().values("pool_id").distinct()))
    for pool in touched:
        require(actor, PERMISSIONS[kind], pool)
    if not touched:
        where = "open dead letter" if source == DeadLetterState.OPEN else f"{source} dead letter that is still kept"
        raise Refused("ids", f"No {where} matches: they may have been handled already. Nothing was changed.")
    if len({pool.broker for pool in touched}) > 1:
        raise Refused("ids", "These jobs lie on several brokers: choose those of one. Nothing was changed.")
    return touched


def _record(actor: Actor, row: Operation, needed: list[dict[str, Any]], more: dict[str, Any]) -> None:
    """What is asked for, and of whom. ``needed``: why a second person is to approve it, if one is."""
    slugs = sorted(row.pools.values_list("slug", flat=True))
    target = operation_target(row, slugs)
    frozen = {"frozen": row.frozen_count, "ids_sha256": row.ids_sha256, "pools": slugs, **row.selection}
    moved = {"to_queue": row.to_queue} if row.to_queue else {}
    if row.source != DeadLetterState.OPEN:
        moved["source"] = str(row.source)
    record(
        actor=actor,
        action=f"operation.{row.kind}_started",
        target=target,
        outcome="intent",
        reason=row.reason,
        detail={**frozen, **moved, **more},
    )
    if needed:
        asked = {"ids_sha256": row.ids_sha256, "needed": needed}
        record(actor=actor, action="operation.approval_requested", target=target, reason=row.reason, detail=asked)


def _skip_poison(row: Operation) -> None:
    """Whoever wants to requeue such a job names it."""
    poison = DeadLetter.objects.filter(is_poison())
    row.items.filter(dead_letter__in=poison).update(outcome=Outcome.POISON)


def _freeze(row: Operation, chosen: QuerySet[DeadLetter]) -> tuple[int, str]:
    """Copy the chosen ids in one statement, oldest failure first. Returns their number and the digest of the ids."""
    numbered = chosen.order_by().annotate(
        place=Window(RowNumber(), order_by=[F("failed_at").asc(), F("pk").asc()]),
    )
    sql, params = numbered.values_list("place", "pk", "job_id", "queue", "group_id", "score").query.sql_with_params()
    table = connection.ops.quote_name(OperationItem._meta.db_table)
    columns = "operation_id, position, dead_letter_id, job_id, queue, group_id, score, outcome, effect"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns})"  # noqa: S608
            f" SELECT %s, place.*, %s, '' FROM ({sql}) AS place",
            [row.pk, Outcome.PENDING, *params],
        )
    return frozen_ids(row)


def frozen_ids(row: Operation) -> tuple[int, str]:
    """The number of the operation's items, and the SHA-256 of their job ids, sorted, one a line."""
    digest, count = hashlib.sha256(), 0
    by_bytes = Collate("job_id", "C" if connection.vendor == "postgresql" else "BINARY")
    for job_id in row.items.order_by(by_bytes).values_list("job_id", flat=True).iterator(5000):
        digest.update(job_id.encode() + b"\n")
        count += 1
    return count, digest.hexdigest()
