"""Carrying an operation out: a job of the console's own pool, run by RQ through django-rq.

The row says up to which position items are on their way, and since when; a Lua script moves that chunk and keeps a
receipt of what it moved; then its items get their outcomes, batch by batch: while one's are written, the broker moves
the next. When the process dies in between, the next run sends those of the chunk that have no outcome once more with
the same receipt, and the script leaves alone what it signed for. Nothing moves twice, and no outcome is guessed.

Nobody waits long in here. For its canary an operation waits as a row without a job (``wake_at``), and a rate that asks
for more than ``TURN`` seconds of waiting hands it on: the controller sends it on its way again.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import batched, pairwise
from typing import NamedTuple

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.broker.connection import get_broker
from pools.broker.moves import forget
from pools.models import Operation, OperationItem, OperationKind, OperationState, Outcome, SealedPayload
from pools.operations import pace
from pools.operations.guards import ACTOR, canary_room, decide_canary, stop_for_same_failure
from pools.operations.recall import recall_chunk
from pools.operations.sending import Item, send, settle, time_of
from pools.selectors.operations import operation_target
from pools.selectors.progress import DONE

CHUNK = pace.CHUNK
BATCH = 2_000
"""Jobs a transaction."""
TURN = 1.0


class Step(NamedTuple):
    """What to do next: move ``items``. Without any nothing is left, unless ``more`` is to go: after ``seconds`` for the
    rate, or when they are 0 after the canary.
    """

    row: Operation
    items: list[Item]
    more: bool = False
    seconds: float = 0.0


def run_operation(pk: int) -> str:
    """Send what is pending, chunk by chunk, until nothing is left, it has to wait, or somebody paused or cancelled it.

    Several processes may run the same operation at once: they carry out the same chunk, the first one's word counts.
    """
    rest = TURN
    while True:
        step = _next_chunk(pk)
        row = step.row
        if step.items:
            _carry_out(row, step.items)
        elif row.recall:
            recall_chunk(row)
        elif row.state != OperationState.RUNNING:
            return f"operation {pk} is {row.state}"
        elif not step.more:
            return _end(row)
        elif not step.seconds:
            return f"operation {pk} waits for its canary"
        elif step.seconds > rest or row.wake_at is not None:
            return _hand_on(row)
        else:
            time.sleep(step.seconds)
            rest -= step.seconds


def _carry_out(row: Operation, items: list[Item]) -> None:
    """Move a chunk batch by batch: while the outcomes of one are written, the broker moves the next."""
    receipt = receipt_of(row)
    batches = list(batched(items, BATCH))
    with ThreadPoolExecutor(1) as ahead:
        outcomes = send(row, batches[0], receipt)
        for batch, after in pairwise(batches):
            coming = ahead.submit(send, row, after, receipt)
            _settle(row, batch, outcomes)
            outcomes = coming.result()
        _settle(row, batches[-1], outcomes)
    forget(get_broker(row.broker), receipt)


def receipt_of(row: Operation) -> str:
    """The key of a chunk's receipt: by its time, which stays the same however much of the chunk has its outcomes."""
    return get_broker(row.broker).keys.moved(f"{row.pk}:{time_of(row).timestamp()}")


@transaction.atomic
def _next_chunk(pk: int) -> Step:
    """What a dead process left on its way, whatever the state; or the next items, while the operation runs."""
    row = Operation.objects.select_for_update().get(pk=pk)
    pending = row.items.filter(outcome=Outcome.PENDING)
    front = [Item._make(values) for values in pending.order_by("position").values_list(*Item._fields)[:CHUNK]]
    left = [item for item in front if row.sent_to is not None and item.position <= row.sent_to]
    if left or not front:
        return Step(row, left)
    if row.state != OperationState.RUNNING:
        return Step(row, [])
    if stop_for_same_failure(row):
        return Step(row, [])
    now = timezone.now()
    canary = canary_room(row)
    if canary == 0:
        if not decide_canary(row, now):
            return Step(row, [], more=True)
        canary = None
    room = pace.room(row, now)
    if not room:
        return Step(row, [], more=True, seconds=pace.seconds_to_wait(row, now))
    items = front[: room if canary is None else min(room, canary)]
    row.sent_to, row.sent_at, row.wake_at = items[-1].position, now, None
    pace.spend(row, now, len(items))
    row.save(update_fields=["sent_to", "sent_at", "wake_at", "paced_until"])
    return Step(row, items, more=True)


def _hand_on(row: Operation) -> str:
    """Let the controller send it on its way again at once, behind what else waits for a console worker."""
    Operation.objects.filter(pk=row.pk, state=OperationState.RUNNING).update(wake_at=timezone.now())
    return f"operation {row.pk} is handed on"


def _chunk(row: Operation, items: Sequence[Item]) -> QuerySet[OperationItem]:
    """The rows of a batch that have no outcome yet."""
    return row.items.filter(outcome=Outcome.PENDING, position__range=(items[0].position, items[-1].position))


@transaction.atomic
def _settle(row: Operation, items: Sequence[Item], outcomes: dict[str, Outcome]) -> None:
    """Write the outcomes of the batch, unless another process was first; its dead letters follow."""
    Operation.objects.select_for_update().get(pk=row.pk)
    pending, now = _chunk(row, items), timezone.now()
    letters = dict(pending.values_list("position", "dead_letter_id"))
    if not letters:
        return
    found: dict[Outcome, list[int]] = {}
    for item in items:
        if item.position in letters:
            found.setdefault(outcomes[item.job_id], []).append(item.position)
    for outcome, places in found.items():
        settle(row, outcome, [letters[place] for place in places], now)
        # As a rule one outcome is that of all, and no place need be named.
        named = pending.filter(position__in=places) if len(found) > 1 else pending
        named.update(outcome=outcome, at=row.sent_at)
    if row.kind == OperationKind.EDIT:
        SealedPayload.objects.filter(operation=row).delete()
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
        actor=system_actor(ACTOR),
        action=f"operation.{row.kind}_ended",
        target=operation_target(row, sorted(row.pools.values_list("slug", flat=True))),
        after={DONE[OperationKind(row.kind)]: 0} | counts,
        reason=row.reason,
        detail={"frozen": row.frozen_count, "started_by": row.actor_name, "request_id": row.request_id}
        | ({"to_queue": row.to_queue} if row.to_queue else {}),
    )
    return f"operation {row.pk}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
