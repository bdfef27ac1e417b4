"""The shelf: failed jobs out of RQ's sight, to be put back bit for bit, and away for good.

There are three shelves. What RQ keeps of a job lies there under keys of ours, renamed and not copied, so that neither
its size nor its bytes matter. Towards all other jobs a shelved job is a deleted one: ``discard`` leaves the broker as
RQ's own ``job.delete()`` does (``tests/broker/test_moves_like_rq.py``), and a shelf adds nothing but its own keys. Two
differences from RQ: the queue is not searched for the job, which would block the broker, and RQ's clean-up never runs.

What ``restore`` brings back: the job, its results, its dependents and dependencies with their expiry, its place in the
failed registry, its group. What it does not: executions that a dead worker left, and a slot of a rate limit, for a
failed job holds none.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from redis import Redis

from pools.broker.connection import Broker
from pools.broker.moves import (
    KEPT_AT_LEAST,
    Jobs,
    MoveResult,
    Outcome,
    Scores,
    in_chunks,
    outcome_of,
    rq_time,
    with_scores,
)
from pools.broker.scripts import script

CHUNK = 100
"""Jobs a script call; each has up to five keys to be moved."""
AWAY = ""
FOR_EVER = "0"


class Shelf(StrEnum):
    TRASH = "trash"
    QUARANTINE = "quarantine"
    ARCHIVE = "archive"


OUTCOMES = {Shelf.TRASH: Outcome.DISCARDED, Shelf.QUARANTINE: Outcome.QUARANTINED, Shelf.ARCHIVE: Outcome.ARCHIVED}


def shelve(
    broker: Broker, jobs: Jobs, shelf: Shelf, until: datetime | None = None, receipt: str = "", scores: Scores = ()
) -> list[MoveResult]:
    """Lay failed jobs on a shelf until then, None: for ever; one result a job, in the order given.

    The outcome of the shelf: it lies there. not_failed, failed_anew: as for ``requeue``, nothing changed. gone: there
    was no record; its entry in the registry is removed, if there was one. Jobs that depend on a shelved one stay
    deferred, as in RQ. A job on a shelf makes room for a newer one with its id. ``receipt`` as for ``requeue``. Raises
    BrokerUnavailable.
    """
    return _take_away(broker, jobs, [shelf, _moment(until), OUTCOMES[shelf]], receipt, scores)


def discard(broker: Broker, jobs: Jobs, receipt: str = "", scores: Scores = ()) -> list[MoveResult]:
    """Delete failed jobs with all that RQ keeps of them; as ``shelve``."""
    return _take_away(broker, jobs, [AWAY, FOR_EVER, Outcome.DISCARDED], receipt, scores)


def reshelve(
    broker: Broker, jobs: Jobs, shelf: Shelf, to: Shelf, until: datetime | None = None, receipt: str = ""
) -> list[MoveResult]:
    """Move jobs from one shelf to another, to be kept there until then; as ``shelve``.

    expired: nothing is left of it. not_shelved: it lies on another shelf.
    """
    return _on_shelf(broker, jobs, [shelf, to, _moment(until), OUTCOMES[to]], receipt)


def discard_shelved(broker: Broker, jobs: Jobs, shelf: Shelf, receipt: str = "") -> list[MoveResult]:
    """Delete jobs that lie on a shelf; as ``reshelve``."""
    return _on_shelf(broker, jobs, [shelf, AWAY, FOR_EVER, Outcome.DISCARDED], receipt)


def restore(broker: Broker, jobs: Jobs, shelf: Shelf, receipt: str = "") -> list[MoveResult]:
    """Put jobs from a shelf back into their failed registries; one result a job, in the order given.

    restored: as it was before it was shelved, with the expiry that it had, but kept for ``KEPT_AT_LEAST`` from now.
    taken: another job has its id meanwhile. expired: nothing is left of it. not_shelved: it lies on another shelf, or
    somebody restored it. Only restored jobs are changed. ``receipt`` as for ``requeue``. Raises BrokerUnavailable.
    """
    kept_at_least = str(int(KEPT_AT_LEAST.total_seconds() * 1000))

    def call(client: Redis, queue: str, places: list[int], ids: list[str]) -> list[bytes]:
        keys = [broker.rq.failed(queue), broker.rq.groups, *filter(None, [receipt])]
        args = [broker.prefix, broker.keys.shelf, shelf, kept_at_least, *ids]
        found: list[bytes] = script(client, "moving", "shelf", "unshelve")(keys=keys, args=args)
        return found

    return _moved(broker, jobs, call)


def _take_away(broker: Broker, jobs: Jobs, told: Sequence[str], receipt: str, scores: Scores) -> list[MoveResult]:
    at = datetime.now(UTC)

    def call(client: Redis, queue: str, places: list[int], ids: list[str]) -> list[bytes]:
        keys = [broker.rq.failed(queue), broker.rq.started(queue), *filter(None, [receipt])]
        args = [broker.prefix, str(at.timestamp()), rq_time(at), broker.keys.shelf, *told]
        args += with_scores(places, ids, scores)
        found: list[bytes] = script(client, "moving", "shelf", "shelve")(keys=keys, args=args)
        return found

    return _moved(broker, jobs, call)


def _on_shelf(broker: Broker, jobs: Jobs, told: Sequence[str], receipt: str) -> list[MoveResult]:
    def call(client: Redis, queue: str, places: list[int], ids: list[str]) -> list[bytes]:
        keys, args = [*filter(None, [receipt])], [broker.keys.shelf, *told, *ids]
        found: list[bytes] = script(client, "moving", "shelf", "reshelve")(keys=keys, args=args)
        return found

    return _moved(broker, jobs, call)


def _moved(
    broker: Broker, jobs: Jobs, call: Callable[[Redis, str, list[int], list[str]], list[bytes]]
) -> list[MoveResult]:
    """One ``call`` for each ``CHUNK`` of a queue's jobs; it answers with one outcome a job."""
    outcomes: dict[int, Outcome] = {}
    with broker.use() as client:
        for queue, places, ids in in_chunks(jobs, lambda _: CHUNK):
            outcomes |= dict(zip(places, map(outcome_of, call(client, queue, places, ids)), strict=True))
    return [MoveResult(job_id, outcomes[place]) for place, (job_id, _) in enumerate(jobs)]


def _moment(until: datetime | None) -> str:
    return str(int(until.timestamp() * 1000)) if until else FOR_EVER
