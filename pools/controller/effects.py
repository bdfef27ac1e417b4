"""Follows requeued jobs to the end of their next run, and records once what a requeue came to.

An item's effect is known for good when its job

- finished, or failed again (also when it was requeued once more since: its dead letter shows the failed run),
- was cancelled by somebody, or vanished while it waited: unknown,
- vanished after it was seen running: it succeeded, for RQ deletes jobs without a result lifetime as they succeed, and
  keeps those that failed.

Beside it stands whether a job failed again for the same cause, as soon as its dead letter shows the failure. An
operation that waits for its canary is woken when all jobs of the canary have ended. While a requeue is being recalled
its jobs are left alone.

What has no end a day after the operation's is unknown. Items, counts and the event are written in transactions of the
operation's row, so a controller that dies leaves nothing half-told and nothing is told twice.
"""

from collections import Counter, deque
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import F, Q
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.broker.connection import get_broker
from pools.broker.job_ends import JobEnd, read_ends
from pools.controller.lease import LeaderLease
from pools.models import DeadLetter, Effect, Operation, OperationState, Outcome
from pools.models.operation import RUN_AGAIN
from pools.selectors.operations import operation_target
from pools.selectors.phrases import effect_phrase
from pools.selectors.progress import open_items

CHUNK = 1000
CHUNKS_A_TICK = 5
"""At most 5,000 jobs a tick, two round trips for each thousand: a long queue is looked at in turns."""
PATIENCE = timedelta(hours=24)
OPEN = ("", Effect.RUNNING)
LATE = timedelta(minutes=3)
"""For so long after the last effect is known, the scanner may still find out why a job failed again."""
FROM_THE_START = -1


class Item(NamedTuple):
    """A requeued job; ``failed_run_at`` is when the run was enqueued with which its dead letter failed."""

    pk: int
    position: int
    job_id: str
    queue: str
    effect: str
    sent_at: datetime | None
    failed_run_at: datetime | None


class Effects:
    name = "effects"
    interval = 2.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._next = 0
        self._reached: dict[int, int] = {}

    def tick(self) -> bool:
        recently = Q(effect_at__gt=timezone.now() - LATE)
        followed = Operation.objects.filter(Q(effect_at=None) | recently, broker=self._alias, kind__in=RUN_AGAIN)
        found = followed.exclude(state__in=(OperationState.FROZEN, OperationState.AWAITING)).order_by("pk")
        rows = [row for row in found if not row.recall]
        self._reached = {row.pk: self._reached.get(row.pk, FROM_THE_START) for row in rows}
        turns = deque(sorted(rows, key=lambda row: (row.pk < self._next, row.pk)))
        for _ in range(CHUNKS_A_TICK):
            if not turns:
                break
            row = turns.popleft()
            if self._follow(row):
                turns.append(row)
        self._next = turns[0].pk if turns else 0
        return False

    def _follow(self, row: Operation) -> bool:
        """Look at the next chunk of the operation's open items. True when more of them wait for a look."""
        overdue = row.ended_at is not None and timezone.now() - row.ended_at > PATIENCE
        items = [] if overdue else self._next_items(row)
        found = _effects(items, self._alias)
        ended = row.effect_at is None and row.ended_at is not None and (overdue or not open_items(row).exists())
        if found or ended:
            self._write(row, found, overdue=overdue)
        self._judge(row)
        return len(items) == CHUNK

    def _next_items(self, row: Operation) -> list[Item]:
        waiting = open_items(row).filter(position__gt=self._reached[row.pk]).order_by("position")
        columns = ("pk", "position", "job_id", "queue", "effect", "at", "dead_letter__enqueued_at")
        items = [Item(*values) for values in waiting.values_list(*columns)[:CHUNK]]
        if row.to_queue:
            items = [item._replace(queue=row.to_queue) for item in items]
        self._reached[row.pk] = items[-1].position if len(items) == CHUNK else FROM_THE_START
        return items

    def _write(self, row: Operation, found: dict[str, list[int]], *, overdue: bool) -> None:
        with self._lease.fenced():
            row = Operation.objects.select_for_update().get(pk=row.pk)
            if row.recall:
                return
            counts = Counter(row.effects)
            for effect, pks in sorted(found.items()):
                changed = open_items(row).filter(pk__in=pks).update(effect=effect)
                if effect not in OPEN:
                    counts[effect] += changed
            if overdue and row.effect_at is None:
                counts[Effect.UNKNOWN] += open_items(row).update(effect=Effect.UNKNOWN)
            row.effects = {str(effect): count for effect, count in counts.items() if count}
            if row.effect_at is None and _is_over(row, overdue=overdue):
                row.effect_at = timezone.now()
                if row.effects:
                    _record(row)
            if row.wake_at is not None and row.has_open_canary and not open_items(row).exists():
                row.wake_at = timezone.now()
            row.save(update_fields=["effects", "effect_at", "wake_at"])

    def _judge(self, row: Operation) -> None:
        """Hold the cause of those that failed again against the one they were frozen with. A job that was moved to a
        queue of another pool has a group there."""
        unjudged = row.items.filter(
            effect=Effect.FAILED_AGAIN, same_failure=None, dead_letter__enqueued_at__gte=F("at")
        )
        groups = unjudged.values_list("pk", "dead_letter_id", "group__digest", "dead_letter__group__digest")[:CHUNK]
        judged: dict[bool, dict[int, int]] = {}
        for pk, letter, before, now in groups:
            judged.setdefault(before == now, {})[pk] = letter
        if not judged:
            return
        with self._lease.fenced():
            row = Operation.objects.select_for_update().get(pk=row.pk)
            for same, letters in judged.items():
                changed = row.items.filter(pk__in=letters, same_failure=None).update(same_failure=same)
                row.same_failures += changed * same
                times = F("came_back") + 1 if same else 0
                DeadLetter.objects.filter(pk__in=letters.values()).update(came_back=times)
            row.save(update_fields=["same_failures"])


def _effects(items: list[Item], alias: str) -> dict[str, list[int]]:
    """Item ids by the effect that is news."""
    ends = read_ends(get_broker(alias), [(item.job_id, item.queue) for item in items]) if items else []
    found: dict[str, list[int]] = {}
    for item, end in zip(items, ends, strict=True):
        effect = _effect(item, end)
        if effect != item.effect:
            found.setdefault(effect, []).append(item.pk)
    return found


def _effect(item: Item, end: JobEnd) -> str:
    # The requeue wrote its own time into the job as ``enqueued_at``: a dead letter that holds it failed after it.
    if item.sent_at is not None and item.failed_run_at is not None and item.failed_run_at >= item.sent_at:
        return Effect.FAILED_AGAIN
    if end == JobEnd.GONE:
        return Effect.SUCCEEDED if item.effect == Effect.RUNNING else Effect.UNKNOWN
    return {
        JobEnd.WAITING: "",
        JobEnd.RUNNING: Effect.RUNNING,
        JobEnd.SUCCEEDED: Effect.SUCCEEDED,
        JobEnd.FAILED: Effect.FAILED_AGAIN,
        JobEnd.CALLED_OFF: Effect.UNKNOWN,
    }[end]


def _is_over(row: Operation, *, overdue: bool) -> bool:
    """Nothing is left to be sent, and nothing that was sent is still under way."""
    unsent = row.items.filter(outcome=Outcome.PENDING)
    return row.ended_at is not None and (overdue or not (unsent.exists() or open_items(row).exists()))


def _record(row: Operation) -> None:
    record(
        actor=system_actor("controller"),
        action="operation.requeue_followed",
        target=operation_target(row, sorted(row.pools.values_list("slug", flat=True))),
        after=dict(row.effects),
        reason=row.reason,
        detail={
            "requeued": sum(row.effects.values()),
            "effect": effect_phrase(row.effects),
            "started_by": row.actor_name,
            "request_id": row.request_id,
        },
    )
