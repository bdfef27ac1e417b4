"""Moving failed jobs: back onto their queue, and from there back again. One Lua script a verb, so no crash leaves a job
nowhere or twice. ``shelf`` has the other ways.

``requeue`` leaves the broker as RQ 3.0's own ``FailedJobRegistry.requeue()`` does, field by field:
``tests/broker/test_moves_like_rq.py`` compares whole key spaces. RQ has no word for moving a job to
another queue: by hand it is ``job.origin = "other"`` and then ``FailedJobRegistry("mail").requeue(job)``, and that is
what ``requeue`` with ``to_queue`` leaves; with new ``job.args`` and ``job.kwargs`` it is what ``edit`` leaves.
Deliberate differences:

- The failure's expiry does not stay on a requeued job (RQ keeps it: the job may vanish while it waits). Its results
  keep theirs: they are history.
- The queue is listed in RQ's set of queues again, should somebody have removed it.
- A job that RQ says lives elsewhere (not failed, not stopped) is left alone, and so is one whose record names another
  queue than the registry it lies in or holds no payload.
- Fields that RQ rewrites with the value they have are not touched; ``meta`` and the payload stay byte for byte.

A damaged job cannot be requeued. ``recall`` takes a requeue back: it leaves the broker as it was before
``requeue``, as far as the times that the caller knows go.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import batched

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.pipelines import Pipelines
from pools.broker.scripts import script

CHUNK = 100
"""Jobs a script call: the broker serves nobody else meanwhile. That takes 2 ms, and may take five times as long."""
RECALL_CHUNK, SEARCHED = 50, 500_000
"""Fewer, for each is searched in its queue: so many that a call looks at about so many entries (5 ms), but one job at
least."""
KEPT_AT_LEAST = timedelta(minutes=10)
DEFAULT_TIMEOUT = 180
NO_EXC_INFO = zlib.compress(b"")


class Outcome(StrEnum):
    REQUEUED = "requeued"
    DISCARDED = "discarded"
    NOT_FAILED = "not_failed"
    GONE = "gone"
    DAMAGED = "damaged"
    CHANGED = "changed"
    FAILED_ANEW = "failed_anew"
    ORPHANED = "orphaned"
    RECALLED = "recalled"
    NOT_QUEUED = "not_queued"
    QUARANTINED = "quarantined"
    ARCHIVED = "archived"
    RESTORED = "restored"
    TAKEN = "taken"
    EXPIRED = "expired"
    NOT_SHELVED = "not_shelved"


@dataclass(frozen=True)
class MoveResult:
    job_id: str
    outcome: Outcome


@dataclass(frozen=True)
class Failure:
    """What a requeued job's record held before. ``expires_at``: None never."""

    job_id: str
    queue: str
    enqueued_at: datetime | None
    started_at: datetime | None
    failed_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True)
class Change:
    """A payload as it must be stored, and as it shall be."""

    seen: bytes
    data: bytes


type Jobs = Sequence[tuple[str, str]]
"""(job id, queue) pairs; the queue is the one in whose failed registry the job lies."""

type Scores = Sequence[float | None]
"""Where each of the jobs must lie there, for a job that fails again lies elsewhere; None anywhere."""


def requeue(
    broker: Broker,
    jobs: Jobs,
    at: datetime | None = None,
    receipt: str = "",
    to_queue: str = "",
    scores: Scores = (),
    *,
    orphans_stay: bool = False,
) -> list[MoveResult]:
    """Put failed jobs back on their queues, or on ``to_queue``, at the end; one result a job, in the order given.

    requeued: it waits in its queue, or for a slot of its rate limit. not_failed: it isn't in the failed registry, or
    lives elsewhere. failed_anew: it does not lie at its score, if there are ``scores``. gone: its record has expired.
    damaged: RQ could not run it. orphaned: a job that it depends on is gone, and ``orphans_stay``; RQ takes such a
    dependency as met. Only requeued jobs are changed.
    ``at`` becomes their ``enqueued_at``. Whoever repeats a call whose answer was lost passes the same ``receipt`` (a
    key of ours) again: what the first call moved is then requeued and left alone, wherever it is by now. Raises
    BrokerUnavailable.
    """
    at = at or datetime.now(UTC)
    common = _common(at, orphans_stay=orphans_stay)
    outcomes: dict[int, Outcome] = {}
    with broker.use() as client:
        for queue, places, ids in in_chunks(jobs):
            target = to_queue or queue
            keys = [broker.rq.failed(queue), broker.rq.queue(target), broker.rq.queues, *filter(None, [receipt])]
            args = [broker.prefix, queue, target, *common, *with_scores(places, ids, scores)]
            answers = script(client, "moving", "requeueing", "requeue")(keys=keys, args=args)
            outcomes |= dict(zip(places, map(outcome_of, answers), strict=True))
    return [MoveResult(job_id, outcomes[place]) for place, (job_id, _) in enumerate(jobs)]


def edit(
    broker: Broker, job: tuple[str, str], change: Change, at: datetime, receipt: str = "", score: float | None = None
) -> list[MoveResult]:
    """Put one failed job back on its queue with another payload; its one result.

    changed: its payload is not byte for byte what was seen; nothing changed. All else as for ``requeue``. Raises
    BrokerUnavailable.
    """
    job_id, queue = job
    keys = [broker.rq.failed(queue), broker.rq.queue(queue), broker.rq.queues, *filter(None, [receipt])]
    scored = with_scores([0], [job_id], [score])
    args = [broker.prefix, queue, queue, *_common(at), *scored, change.seen, change.data]
    with broker.use() as client:
        (answer,) = script(client, "moving", "requeueing", "edit")(keys=keys, args=args)
    return [MoveResult(job_id, outcome_of(answer))]


def recall(broker: Broker, failures: Sequence[Failure], receipt: str = "") -> list[MoveResult]:
    """Put requeued jobs that no worker has taken yet back into their failed registries; results in the order given.

    recalled: it is a failed job again, with its former expiry, but kept for ``KEPT_AT_LEAST`` from now. not_queued: it
    runs, has run or is gone; nothing changed. The search begins at the end of the queue, so give the newest first.
    ``receipt`` as for ``requeue``. Raises BrokerUnavailable.
    """
    at = datetime.now(UTC)
    outcomes: dict[int, Outcome] = {}
    jobs = [(failure.job_id, failure.queue) for failure in failures]
    with broker.use() as client:
        queues = sorted({queue for _, queue in jobs})
        answers = Pipelines(client).run(("LLEN", broker.rq.queue(queue)) for queue in queues)
        lengths = dict(zip(queues, map(fields.count, answers), strict=True))
        for queue, places, _ in in_chunks(jobs, lambda queue: min(RECALL_CHUNK, SEARCHED // (lengths[queue] or 1))):
            keys = [broker.rq.failed(queue), broker.rq.queue(queue), *filter(None, [receipt])]
            args = [broker.prefix, queue, str(at.timestamp()), rq_time(at)]
            for place in places:
                args += _former(failures[place], at)
            answers = script(client, "moving", "recall")(keys=keys, args=args)
            outcomes |= dict(zip(places, map(outcome_of, answers), strict=True))
    return [MoveResult(job_id, outcomes[place]) for place, (job_id, _) in enumerate(jobs)]


def forget(broker: Broker, receipt: str) -> None:
    """Drop a receipt whose results are written down. Raises BrokerUnavailable."""
    with broker.use() as client:
        client.delete(receipt)


def in_chunks(jobs: Jobs, size: Callable[[str], int] = lambda _: CHUNK) -> Iterator[tuple[str, list[int], list[str]]]:
    """(queue, places in ``jobs``, ids) of at most ``size`` jobs of one queue, and one at least."""
    by_queue: dict[str, list[int]] = {}
    for place, (_, queue) in enumerate(jobs):
        by_queue.setdefault(queue, []).append(place)
    for queue, places in by_queue.items():
        for chunk in batched(places, max(1, size(queue))):
            yield queue, list(chunk), [jobs[place][0] for place in chunk]


def _common(at: datetime, *, orphans_stay: bool = False) -> list[str | bytes]:
    """What requeueing.lua is told of the time, of what RQ writes, and of jobs whose dependency is gone."""
    return [str(at.timestamp()), rq_time(at), NO_EXC_INFO, str(DEFAULT_TIMEOUT), str(int(orphans_stay))]


def _former(failure: Failure, now: datetime) -> list[str]:
    """What the script is told of one job."""
    expires = max(failure.expires_at, now + KEPT_AT_LEAST).timestamp() if failure.expires_at else -1
    times = (failure.enqueued_at, failure.started_at, failure.failed_at)
    return [failure.job_id, str(expires), *(rq_time(at) if at else "" for at in times)]


def with_scores(places: Sequence[int], ids: Sequence[str], scores: Scores) -> list[str]:
    """Each id, followed by its score as the scripts read it."""
    found = [scores[place] if scores else None for place in places]
    return [word for job_id, score in zip(ids, found, strict=True) for word in (job_id, _score(score))]


def _score(score: float | None) -> str:
    return "" if score is None else repr(score)


def outcome_of(answer: bytes) -> Outcome:
    return Outcome(answer.decode())


def rq_time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
