"""Bulk work on dead letters: freeze a selection. ``execute`` does the moving."""

import hashlib

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
    is_poison,
)
from pools.operations.base import append_outbox, clean_reason
from pools.operations.errors import Conflict, Refused
from pools.operations.plan import Canary, Plan
from pools.operations.selection import Selection, select
from pools.permissions import DISCARD, REQUEUE, require, visible_pools
from pools.selectors.operations import operation_target

PERMISSIONS = {
    OperationKind.REQUEUE: REQUEUE,
    OperationKind.DISCARD: DISCARD,
    OperationKind.QUARANTINE: DISCARD,
    OperationKind.ARCHIVE: DISCARD,
    OperationKind.RESTORE: DISCARD,
}
AT_ONCE = Plan()


@operation("operation.requeue_started")
def requeue_create(
    *,
    actor: Actor,
    selection: Selection,
    reason: str,
    expected_count: int | None = None,
    start: bool = True,
    plan: Plan = AT_ONCE,
) -> Operation:
    """Freeze the open dead letters of ``selection`` and send them back to their queues, as ``plan`` says.

    ``expected_count``: what the caller was shown. Raises ``Denied``, ``Refused``, ``Conflict``.
    """
    return create(actor, OperationKind.REQUEUE, selection, reason, expected_count, plan, start=start)


@operation("operation.discard_started")
def discard_create(
    *,
    actor: Actor,
    selection: Selection,
    reason: str,
    expected_count: int | None = None,
    start: bool = True,
    plan: Plan = AT_ONCE,
) -> Operation:
    """Freeze the dead letters of ``selection``, open or set aside, and throw them away. As ``requeue_create``."""
    return create(actor, OperationKind.DISCARD, selection, reason, expected_count, plan, start=start)


@operation("operation.requeue_started")
def operation_again(*, actor: Actor, operation: Operation, reason: str) -> Operation:
    """Freeze those that failed again after a requeue and are dead letters now, with the same plan. Nothing is sent.

    Raises ``Denied``, ``Refused``.
    """
    for pool in operation.pools.all():
        require(actor, PERMISSIONS[OperationKind(operation.kind)], pool)
    if operation.kind != OperationKind.REQUEUE:
        raise Refused("", "Only the jobs of a requeue run and can fail again. Nothing was changed.")
    canary = None
    if operation.canary_count and operation.canary_min_success and operation.canary_timeout:
        canary = Canary(operation.canary_count, operation.canary_min_success, operation.canary_timeout)
    plan = Plan(canary, operation.rate_per_second, operation.stop_same_failure)
    return create(actor, OperationKind.REQUEUE, Selection(failed_in=operation), reason, None, plan, start=False)


def create(
    actor: Actor,
    kind: OperationKind,
    selection: Selection,
    reason: str,
    expected_count: int | None,
    plan: Plan,
    *,
    start: bool,
) -> Operation:
    """What all of them share. Raises ``Denied``, ``Refused``, ``Conflict``."""
    chosen, source = select(actor, selection, kind)
    touched = list(visible_pools(actor).filter(pk__in=chosen.order_by().values("pool_id").distinct()))
    for pool in touched:
        require(actor, PERMISSIONS[kind], pool)
    reason = clean_reason(reason)
    plan.check(requeues=kind == OperationKind.REQUEUE)
    if not touched:
        where = "open dead letter" if source == DeadLetterState.OPEN else f"{source} dead letter that is still kept"
        raise Refused("ids", f"No {where} matches: they may have been handled already. Nothing was changed.")
    if len({pool.broker for pool in touched}) > 1:
        raise Refused("ids", "These jobs lie on several brokers: choose those of one. Nothing was changed.")
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
        **plan.as_columns(),
    )
    row.frozen_count, row.ids_sha256 = _freeze(row, chosen)
    if expected_count is not None and row.frozen_count != expected_count:
        message = f"{row.frozen_count:,} dead letters match now, not {expected_count:,}. Nothing was changed."
        raise Conflict(message, row.frozen_count)
    if kind == OperationKind.REQUEUE and not selection.ids:
        _skip_poison(row)
    row.save()
    row.pools.set(touched)
    slugs = sorted(pool.slug for pool in touched)
    record(
        actor=actor,
        action=f"operation.{kind}_started",
        target=operation_target(row, slugs),
        outcome="intent",
        reason=reason,
        detail={
            "frozen": row.frozen_count,
            "ids_sha256": row.ids_sha256,
            "pools": slugs,
            **({"source": str(source)} if source != DeadLetterState.OPEN else {}),
            **row.selection,
            **plan.as_detail(),
        },
    )
    if start:
        append_outbox("operation", str(row.pk), broker=row.broker)
    return row


def _skip_poison(row: Operation) -> None:
    """Whoever wants to requeue such a job names it."""
    poison = DeadLetter.objects.filter(is_poison())
    row.items.filter(dead_letter__in=poison).update(outcome=Outcome.POISON)


def _freeze(row: Operation, chosen: QuerySet[DeadLetter]) -> tuple[int, str]:
    """Copy the chosen ids in one statement, oldest failure first. Returns their number and the digest of the ids."""
    numbered = chosen.order_by().annotate(
        place=Window(RowNumber(), order_by=[F("failed_at").asc(), F("pk").asc()]),
    )
    sql, params = numbered.values_list("place", "pk", "job_id", "queue", "group_id").query.sql_with_params()
    table = connection.ops.quote_name(OperationItem._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (operation_id, position, dead_letter_id, job_id, queue, group_id, outcome, effect)"  # noqa: S608
            f" SELECT %s, place.*, %s, '' FROM ({sql}) AS place",
            [row.pk, Outcome.PENDING, *params],
        )
    digest, count = hashlib.sha256(), 0
    by_bytes = Collate("job_id", "C" if connection.vendor == "postgresql" else "BINARY")
    for job_id in row.items.order_by(by_bytes).values_list("job_id", flat=True).iterator(5000):
        digest.update(job_id.encode() + b"\n")
        count += 1
    return count, digest.hexdigest()
