"""Carrying an operation out: a job of the console's own pool, run by RQ through django-rq.

A chunk is stamped with a time in SQL, moved by one Lua script that writes that time into the jobs, and then gets its
outcomes in one transaction. When the process dies in between, the controller starts it again: it sends the stamped
items once more with the same time, by which the script knows those that it moved before. Nothing moves twice.
"""

from django.db import transaction
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.broker.connection import get_broker
from pools.broker.moves import discard, requeue
from pools.models import DeadLetter, DeadLetterState, Operation, OperationItem, OperationKind, OperationState, Outcome
from pools.operations.dead_letters import operation_target

CHUNK = 500
# What became of the dead letter, by the outcome of its item. Damaged ones stay where they are.
CLOSED = {
    Outcome.REQUEUED: DeadLetterState.REQUEUED,
    Outcome.DISCARDED: DeadLetterState.DISCARDED,
    Outcome.NOT_FAILED: DeadLetterState.GONE,
    Outcome.GONE: DeadLetterState.GONE,
}


def run_operation(pk: int) -> str:
    """Send what is pending, chunk by chunk, until nothing is left or somebody paused or cancelled it."""
    while True:
        row = Operation.objects.get(pk=pk)
        if row.state != OperationState.RUNNING:
            return f"operation {pk} is {row.state}"
        items = _next_chunk(row)
        if not items:
            return _end(row)
        _settle(row, items, _send(row, items))


def _next_chunk(row: Operation) -> list[OperationItem]:
    """The stamped items that a dead process left, or the next ones, stamped now."""
    pending = row.items.filter(outcome=Outcome.PENDING)
    left = list(pending.filter(at__isnull=False).order_by("at", "position")[:CHUNK])
    if left:
        return [item for item in left if item.at == left[0].at]
    items = list(pending.order_by("position")[:CHUNK])
    now = timezone.now()
    row.items.filter(pk__in=[item.pk for item in items]).update(at=now)
    for item in items:
        item.at = now
    return items


def _send(row: Operation, items: list[OperationItem]) -> dict[str, Outcome]:
    jobs = [(item.job_id, item.queue) for item in items]
    broker = get_broker(row.broker)
    results = requeue(broker, jobs, items[0].at) if row.kind == OperationKind.REQUEUE else discard(broker, jobs)
    return {result.job_id: Outcome(result.outcome) for result in results}


@transaction.atomic
def _settle(row: Operation, items: list[OperationItem], outcomes: dict[str, Outcome]) -> None:
    now = timezone.now()
    for outcome in set(outcomes.values()):
        pks = [item.pk for item in items if outcomes[item.job_id] == outcome]
        row.items.filter(pk__in=pks).update(outcome=outcome)
    for outcome, state in CLOSED.items():
        pks = [item.dead_letter_id for item in items if outcomes[item.job_id] == outcome]
        if pks:
            DeadLetter.objects.filter(pk__in=pks).close(state, now)
    Operation.objects.filter(pk=row.pk).update(progressed_at=now)


@transaction.atomic
def _end(row: Operation) -> str:
    row = Operation.objects.select_for_update().get(pk=row.pk)
    if row.state != OperationState.RUNNING:
        return f"operation {row.pk} is {row.state}"
    row.state, row.ended_at = OperationState.ENDED, timezone.now()
    row.save()
    counts = row.outcome_counts()
    record(
        actor=system_actor("console-jobs"),
        action=f"operation.{row.kind}_ended",
        target=operation_target(row, sorted(row.pools.values_list("slug", flat=True))),
        after=counts,
        reason=row.reason,
        detail={"frozen": row.frozen_count, "started_by": row.actor_name, "request_id": row.request_id},
    )
    return f"operation {row.pk}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
