"""Dead letters and failure groups from failed jobs. The ingester and the scanner share it, so both tell the same story.

Whatever arrives twice, or late, changes nothing: a failure is known by its job's id and its time. The counts of a group
move in the transaction that moves the dead letter's state, here and in the operations.
"""

import threading
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import F
from django.db.models.functions import Greatest, Least

from pools.broker.failed_jobs import FailedJob
from pools.broker.fingerprint import Fingerprint, fingerprint
from pools.controller.claims import Claims, claims_for
from pools.controller.lease import LeaderLease
from pools.controller.sampling.changes import upsert
from pools.models import (
    DeadLetter,
    DeadLetterDetail,
    DeadLetterState,
    FailedAttempt,
    FailureGroup,
    FailureHour,
    Pool,
    Worker,
)

_one_at_a_time = threading.Lock()
"""Two loops absorb; one after the other, neither can insert what the other is inserting."""

LETTER_FIELDS = ["pool", "group", "state", "queue", "func", "exc_type", "message", "failed_at", "created_at"]
LETTER_FIELDS += ["enqueued_at", "started_at", "expires_at", "worker", "host", "config_number", "attempts", "damaged"]
LETTER_FIELDS += ["closed_at"]


@dataclass(frozen=True)
class Facts:
    """What a failed job's own record does not say. ``queue`` is that of the registry it lies in."""

    queue: str
    worker: str = ""
    host: str = ""
    config: int | None = None


@dataclass
class _Tally:
    """What happens to one group."""

    opened: int = 0
    failures: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def failure(self, at: datetime) -> None:
        self.failures += 1
        self.first = min(self.first or at, at)
        self.last = max(self.last or at, at)


@dataclass
class _Batch:
    """One chunk on its way into the tables."""

    alias: str
    jobs: dict[str, FailedJob]
    facts: Mapping[str, Facts]
    read_at: datetime
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    written: list[DeadLetter] = field(default_factory=list)
    attempts: list[FailedAttempt] = field(default_factory=list)
    tallies: dict[int, _Tally] = field(default_factory=dict)
    hours: Counter[tuple[int, datetime]] = field(default_factory=Counter)

    def tally(self, group_id: int) -> _Tally:
        return self.tallies.setdefault(group_id, _Tally())


def absorb(
    lease: LeaderLease, alias: str, jobs: Sequence[FailedJob], facts: Mapping[str, Facts], read_at: datetime
) -> int:
    """Bring the read model up to date with failed jobs; returns how many dead letters were opened or failed again.

    ``facts`` has an entry for each job. ``read_at`` is from before the jobs were read: what was closed later stays
    closed. Jobs that are not dead are left out. Raises LeaseLost, DatabaseError.
    """
    # A record too damaged to have a state still lies in its failed registry.
    dead = {job.job_id: job for job in jobs if job.is_dead or not job.status}
    if not dead:
        return 0
    causes = {job.job_id: fingerprint(job.func, job.exc_type, job.message, job.traceback) for job in dead.values()}
    with _one_at_a_time:
        claims = claims_for(alias, {_queue(job, facts) for job in dead.values()}, lease)
        with lease.fenced():
            batch = _Batch(alias, dead, facts, read_at)
            stored = DeadLetter.objects.select_for_update().filter(broker=alias, job_id__in=dead)
            batch.letters = {letter.job_id: letter for letter in stored.order_by("pk")}
            _absorb(batch, causes, claims)
    return len(batch.written)


def _absorb(batch: _Batch, causes: Mapping[str, Fingerprint], claims: Claims) -> None:
    pools = {job_id: claims.pool_of(_queue(job, batch.facts)) for job_id, job in batch.jobs.items()}
    groups = _groups(batch, causes, pools)
    workers = _workers(batch)
    for job_id, job in batch.jobs.items():
        pool = pools[job_id]
        if pool is not None and _is_news(batch, job):
            _take(batch, job, pool, groups[pool.pk, causes[job_id].digest], workers)
    _write(batch)


def _is_news(batch: _Batch, job: FailedJob) -> bool:
    """A job we do not know, that failed again, or that is back in its registry after we closed it."""
    letter = batch.letters.get(job.job_id)
    if letter is None:
        return True
    if job.failed_at is not None and job.failed_at != letter.failed_at:
        return job.failed_at > letter.failed_at
    return letter.state != DeadLetterState.OPEN and (letter.closed_at is None or letter.closed_at < batch.read_at)


def _take(
    batch: _Batch, job: FailedJob, pool: Pool, group: FailureGroup, workers: Mapping[str, tuple[str, int | None]]
) -> None:
    letter = batch.letters.get(job.job_id) or DeadLetter(broker=batch.alias, job_id=job.job_id, attempts=0)
    failed_at = job.failed_at or (letter.failed_at if letter.pk else batch.read_at)
    if letter.pk is not None and letter.state == DeadLetterState.OPEN:
        batch.tally(letter.group_id).opened -= 1
    if letter.pk is None or failed_at != letter.failed_at:
        if letter.pk is not None:
            batch.attempts.append(_attempt(letter))
        letter.attempts += 1
        batch.tally(group.pk).failure(failed_at)
        batch.hours[group.pk, failed_at.replace(minute=0, second=0, microsecond=0)] += 1
    batch.tally(group.pk).opened += 1
    facts = batch.facts[job.job_id]
    letter.pool, letter.group, letter.queue = pool, group, _queue(job, batch.facts)
    letter.state, letter.closed_at, letter.failed_at = DeadLetterState.OPEN, None, failed_at
    letter.worker = facts.worker or job.worker
    host, config = workers.get(letter.worker, ("", None))
    letter.host, letter.config_number = facts.host or host, facts.config or config
    _copy(letter, job)
    batch.written.append(letter)


def _copy(letter: DeadLetter, job: FailedJob) -> None:
    letter.func, letter.exc_type = job.func[:500], job.exc_type[:300]
    letter.message, letter.damaged = job.message[:1000], job.damaged[:200]
    letter.created_at, letter.enqueued_at, letter.started_at = job.created_at, job.enqueued_at, job.started_at
    letter.expires_at = job.expires_at


def _attempt(letter: DeadLetter) -> FailedAttempt:
    """The failure that the letter held until now."""
    return FailedAttempt(
        dead_letter=letter,
        number=letter.attempts,
        failed_at=letter.failed_at,
        exc_type=letter.exc_type,
        message=letter.message,
        worker=letter.worker,
        config_number=letter.config_number,
    )


def _groups(
    batch: _Batch, causes: Mapping[str, Fingerprint], pools: Mapping[str, Pool | None]
) -> dict[tuple[int, str], FailureGroup]:
    """The group of each cause in each pool, by pool id and digest; made when missing."""
    wanted: dict[tuple[int, str], FailureGroup] = {}
    for job_id, job in batch.jobs.items():
        pool, cause = pools[job_id], causes[job_id]
        if pool is not None and (pool.pk, cause.digest) not in wanted:
            wanted[pool.pk, cause.digest] = _new_group(pool, cause, job, job.failed_at or batch.read_at)
    stored = FailureGroup.objects.filter(
        pool__in={pool_id for pool_id, _ in wanted}, digest__in={digest for _, digest in wanted}
    )
    known = {(group.pool_id, group.digest): group for group in stored}
    missing = [group for key, group in wanted.items() if key not in known]
    for group in FailureGroup.objects.bulk_create(missing):
        known[group.pool_id, group.digest] = group
    return known


def _new_group(pool: Pool, cause: Fingerprint, job: FailedJob, at: datetime) -> FailureGroup:
    return FailureGroup(
        pool=pool,
        digest=cause.digest,
        digest_version=cause.version,
        title=cause.title[:300],
        func=job.func[:500],
        exc_type=job.exc_type[:300],
        first_seen=at,
        last_seen=at,
    )


def _workers(batch: _Batch) -> dict[str, tuple[str, int | None]]:
    """Host and config version of the workers that the jobs name: what is known of those no event speaks of."""
    names = {job.worker for job in batch.jobs.values() if job.worker}
    rows = Worker.objects.filter(broker=batch.alias, name__in=names).values_list("name", "host", "config_number")
    return {name: (host, config) for name, host, config in rows}


def _write(batch: _Batch) -> None:
    new = [letter for letter in batch.written if letter.pk is None]
    known = [letter for letter in batch.written if letter.pk is not None]
    DeadLetter.objects.bulk_create(new)
    upsert(known, ["broker", "job_id"], LETTER_FIELDS)
    FailedAttempt.objects.bulk_create(batch.attempts, ignore_conflicts=True)
    details = [
        DeadLetterDetail(dead_letter=letter, traceback=zlib.compress(batch.jobs[letter.job_id].traceback.encode()))
        for letter in batch.written
    ]
    upsert(details, ["dead_letter"], ["traceback"])
    _write_hours(batch.hours)
    for group_id, tally in sorted(batch.tallies.items()):
        _write_tally(group_id, tally)


def _write_hours(counts: Mapping[tuple[int, datetime], int]) -> None:
    stored = FailureHour.objects.filter(
        group__in={group_id for group_id, _ in counts}, hour__in={hour for _, hour in counts}
    )
    before = {(row.group_id, row.hour): row.count for row in stored}
    rows = [
        FailureHour(group_id=group_id, hour=hour, count=before.get((group_id, hour), 0) + count)
        for (group_id, hour), count in counts.items()
    ]
    upsert(rows, ["group", "hour"], ["count"])


def _write_tally(group_id: int, tally: _Tally) -> None:
    changes: dict[str, object] = {
        "open_count": F("open_count") + tally.opened,
        "total_count": F("total_count") + tally.failures,
    }
    if tally.first is not None and tally.last is not None:
        changes |= {"first_seen": Least("first_seen", tally.first), "last_seen": Greatest("last_seen", tally.last)}
    FailureGroup.objects.filter(pk=group_id).update(**changes)


def _queue(job: FailedJob, facts: Mapping[str, Facts]) -> str:
    """The registry's queue: there the job lies, whatever a damaged record says."""
    return facts[job.job_id].queue or job.queue
