"""One chunk of an operation: what it is on the broker, and what it makes of the dead letters."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db.models import Q

from pools.broker import shelf
from pools.broker.connection import Broker, get_broker
from pools.broker.moves import KEPT_AT_LEAST, Jobs, MoveResult, Scores, requeue
from pools.broker.shelf import Shelf
from pools.models import DeadLetter, DeadLetterState, Operation, OperationKind, Outcome
from pools.operations.edit_send import send_edit


class Item(NamedTuple):
    """The columns of an ``OperationItem`` that moving it takes."""

    position: int
    job_id: str
    queue: str
    score: float | None


SHELVES = {
    DeadLetterState.DISCARDED: Shelf.TRASH,
    DeadLetterState.QUARANTINED: Shelf.QUARANTINE,
    DeadLetterState.ARCHIVED: Shelf.ARCHIVE,
}
# What became of the dead letter, by the outcome of its item. All others stay where they are.
CLOSED = {
    Outcome.REQUEUED: DeadLetterState.REQUEUED,
    Outcome.DISCARDED: DeadLetterState.DISCARDED,
    Outcome.QUARANTINED: DeadLetterState.QUARANTINED,
    Outcome.ARCHIVED: DeadLetterState.ARCHIVED,
    Outcome.NOT_FAILED: DeadLetterState.GONE,
    Outcome.GONE: DeadLetterState.GONE,
}


def send(row: Operation, items: Sequence[Item], receipt: str) -> dict[str, Outcome]:
    """What became of each job, by its id. Raises ``BrokerUnavailable``: the chunk stays on its way for the next run."""
    jobs = [(item.job_id, item.queue) for item in items]
    if row.kind == OperationKind.EDIT:
        return send_edit(row, jobs[0], time_of(row), receipt, items[0].score)
    results = _moved(get_broker(row.broker), row, jobs, [item.score for item in items], receipt)
    return {result.job_id: Outcome(result.outcome) for result in results}


def time_of(row: Operation) -> datetime:
    """When the chunk that is on its way was sent."""
    assert row.sent_at is not None
    return row.sent_at


def settle(row: Operation, outcome: Outcome, pks: Sequence[int], now: datetime) -> None:
    """Let the dead letters follow their items, which are of the chunk that is on its way and have this outcome now."""
    sent = time_of(row)
    letters = DeadLetter.objects.filter(pk__among=pks)
    until = kept_until(OperationKind(row.kind), sent)
    if row.source == DeadLetterState.OPEN:
        if outcome in CLOSED:
            _close(pks, CLOSED[outcome], until, sent, now)
        return
    shelved = letters.filter(state=row.source, closed_at__lte=sent)
    if outcome == Outcome.RESTORED:
        late = letters.filter(expires_at__lt=now + KEPT_AT_LEAST)
        late.update(expires_at=now + KEPT_AT_LEAST, score=None)  # it lies elsewhere; the scanner will find where
        if shelved.reopen(DeadLetterState(row.source), came_back=0, refused=False) < len(pks):
            # The scanner may have found some in the registry before.
            letters.filter(Q(came_back__gt=0) | Q(refused=True)).update(came_back=0, refused=False)
    elif outcome == Outcome.DISCARDED:
        shelved.update(state=DeadLetterState.DISCARDED, closed_at=now, shelved_until=until)
    elif outcome == Outcome.EXPIRED:
        was_discarded = row.source == DeadLetterState.DISCARDED
        left = DeadLetterState.DISCARDED if was_discarded else DeadLetterState.GONE
        shelved.update(state=left, shelved_until=None)


def kept_until(kind: OperationKind, at: datetime) -> datetime | None:
    """Until when the broker keeps what the operation takes away then; None: for ever, or not at all."""
    days = {
        OperationKind.DISCARD: settings.POOLWARDEN_TRASH_DAYS,
        OperationKind.ARCHIVE: settings.POOLWARDEN_ARCHIVE_DAYS,
    }.get(kind)
    return at + timedelta(days=days) if days else None


def _moved(broker: Broker, row: Operation, jobs: Jobs, scores: Scores, receipt: str) -> list[MoveResult]:
    at, kind, source = time_of(row), OperationKind(row.kind), SHELVES.get(DeadLetterState(row.source))
    until = kept_until(kind, at)
    match kind:
        case OperationKind.REQUEUE | OperationKind.MOVE:
            return requeue(broker, jobs, at, receipt, row.to_queue, scores, orphans_stay=row.orphans_stay)
        case OperationKind.QUARANTINE:
            return shelf.shelve(broker, jobs, Shelf.QUARANTINE, None, receipt, scores)
        case OperationKind.ARCHIVE:
            return shelf.shelve(broker, jobs, Shelf.ARCHIVE, until, receipt, scores)
        case OperationKind.RESTORE:
            assert source is not None
            return shelf.restore(broker, jobs, source, receipt)
        case _:
            return _discarded(broker, jobs, scores, source, until, receipt)


def _discarded(
    broker: Broker, jobs: Jobs, scores: Scores, source: Shelf | None, until: datetime | None, receipt: str
) -> list[MoveResult]:
    """Into the trash, or away when nothing is kept there."""
    if until is None:
        return (
            shelf.discard_shelved(broker, jobs, source, receipt)
            if source
            else shelf.discard(broker, jobs, receipt, scores)
        )
    if source:
        return shelf.reshelve(broker, jobs, source, Shelf.TRASH, until, receipt)
    return shelf.shelve(broker, jobs, Shelf.TRASH, until, receipt, scores)


def _close(pks: Sequence[int], state: DeadLetterState, until: datetime | None, sent: datetime, now: datetime) -> None:
    """A job that failed again since it was sent is a dead letter anew and stays one."""
    known = DeadLetter.objects.filter(pk__among=pks, failed_at__lte=sent)
    if state == DeadLetterState.GONE:
        known.close(state, now)
    elif known.close(state, now, until) < len(pks):
        # Another operation met the jobs after this one had moved them, and wrote its word first.
        known.filter(state=DeadLetterState.GONE, closed_at__gte=sent).update(state=state, shelved_until=until)
