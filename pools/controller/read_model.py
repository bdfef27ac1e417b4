"""Dead letters and failure groups from failed jobs. The ingester and the scanner share it, so both tell the same story.

Whatever arrives twice, or late, changes nothing: a failure is known by its job's id and its time. The counts of a group
move in the transaction that moves the dead letter's state, here and in the operations.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from pools.broker.failed_jobs import FailedJob
from pools.broker.tracebacks import REFUSED
from pools.controller import bulk
from pools.controller.arguments import index_anew, write_digests
from pools.controller.claims import Claims, claims_for
from pools.controller.lease import LeaderLease
from pools.controller.notifying.notices import note
from pools.controller.regressions import regress
from pools.models import (
    DeadLetter,
    DeadLetterDetail,
    DeadLetterState,
    FailedAttempt,
    FailureGroup,
    FailureHour,
    Occasion,
    Pool,
    Worker,
)
from pools.words import own_words

one_at_a_time = threading.Lock()
"""Several loops write groups; one after the other, none can insert what another is inserting."""


@dataclass(frozen=True)
class Facts:
    """What a failed job's own record does not say. ``queue`` is that of the registry it lies in."""

    queue: str
    worker: str = ""
    host: str = ""
    config: int | None = None
    rq: str = ""
    python: str = ""


class _Ran(NamedTuple):
    """What is known of the worker that ran a job."""

    host: str = ""
    config: int | None = None
    rq: str = ""
    python: str = ""


class _Group(NamedTuple):
    """What a dead letter takes from its failure group."""

    pk: int
    pool_id: int
    title: str


GROUP_COLUMNS = ("pool_id", "digest", "pk", "pool_id", "title")


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


class _Row(NamedTuple):
    """The columns of a dead letter to be written."""

    broker: str
    job_id: str
    pool_id: int
    group_id: int
    queue: str
    func: str
    exc_type: str
    message: str
    failed_at: datetime
    created_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    expires_at: datetime | None
    score: float | None
    worker: str
    host: str
    config_number: int | None
    rq_version: str
    python_version: str
    attempts: int
    arguments: str
    damaged: str
    words: str
    came_back: int
    refused: bool
    state: str = DeadLetterState.OPEN.value
    closed_at: datetime | None = None
    shelved_until: datetime | None = None


@dataclass
class _Batch:
    """One chunk on its way into the tables."""

    alias: str
    jobs: dict[str, FailedJob]
    facts: Mapping[str, Facts]
    read_at: datetime
    letters: dict[str, DeadLetter] = field(default_factory=dict)
    rows: list[_Row] = field(default_factory=list)
    moved: list[DeadLetter] = field(default_factory=list)
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
    with one_at_a_time:
        claims = claims_for(alias, {_queue(job, facts) for job in dead.values()}, lease)
        with lease.fenced():
            batch = _Batch(alias, dead, facts, read_at)
            stored = DeadLetter.objects.select_for_update().filter(broker=alias, job_id__among=dead)
            batch.letters = {letter.job_id: letter for letter in stored.order_by("pk")}
            _absorb(batch, claims)
    return len(batch.rows)


def _absorb(batch: _Batch, claims: Claims) -> None:
    pools = {job_id: claims.pool_of(_queue(job, batch.facts)) for job_id, job in batch.jobs.items()}
    groups = _groups(batch, pools)
    workers = _workers(batch)
    for job_id, job in batch.jobs.items():
        pool, letter = pools[job_id], batch.letters.get(job_id)
        if pool is not None and _is_news(letter, job, batch.read_at):
            _take(batch, job, letter, groups[pool.pk, job.cause.digest], workers)
        elif letter is not None and job.score not in (None, letter.score):
            letter.score = job.score
            batch.moved.append(letter)
    _write(batch)
    index_anew(
        {row.pool_id for row in batch.rows if not _is_searched(batch.jobs[row.job_id], claims.by_id[row.pool_id])}
    )


def _is_searched(job: FailedJob, pool: Pool) -> bool:
    """Under the paths that the pool names now, and not those of when the job was read."""
    return job.searched == tuple(pool.searchable_arguments)


def _is_news(letter: DeadLetter | None, job: FailedJob, read_at: datetime) -> bool:
    """A job we do not know, that failed again, or that is back in its registry after we closed it."""
    if letter is None:
        return True
    if job.failed_at is not None and job.failed_at != letter.failed_at:
        return job.failed_at > letter.failed_at
    return letter.state != DeadLetterState.OPEN and (letter.closed_at is None or letter.closed_at < read_at)


def _take(
    batch: _Batch,
    job: FailedJob,
    letter: DeadLetter | None,
    group: _Group,
    workers: Mapping[str, _Ran],
) -> None:
    failed_at = job.failed_at or (letter.failed_at if letter else batch.read_at)
    attempts = letter.attempts if letter else 0
    if letter is not None and letter.state == DeadLetterState.OPEN:
        batch.tally(letter.group_id).opened -= 1
    if letter is None or failed_at != letter.failed_at:
        if letter is not None:
            batch.attempts.append(_attempt(letter))
        attempts += 1
        batch.tally(group.pk).failure(failed_at)
        batch.hours[group.pk, failed_at.replace(minute=0, second=0, microsecond=0)] += 1
    batch.tally(group.pk).opened += 1
    facts = batch.facts[job.job_id]
    worker = facts.worker or job.worker
    ran = workers.get(worker, _Ran())
    batch.rows.append(
        _Row(
            broker=batch.alias,
            job_id=job.job_id,
            pool_id=group.pool_id,
            group_id=group.pk,
            queue=_queue(job, batch.facts),
            func=job.func[:500],
            exc_type=job.exc_type[:300],
            message=job.message[:1000],
            failed_at=failed_at,
            created_at=job.created_at,
            enqueued_at=job.enqueued_at,
            started_at=job.started_at,
            expires_at=job.expires_at,
            score=job.score,
            worker=worker,
            host=facts.host or ran.host,
            config_number=facts.config or ran.config,
            rq_version=facts.rq or ran.rq,
            python_version=facts.python or ran.python,
            attempts=attempts,
            arguments=job.arguments,
            damaged=job.damaged[:200],
            words=job.words if group.title == job.cause.title else own_words(job.message, group.title),
            came_back=letter.came_back if letter and letter.created_at == job.created_at else 0,
            refused=job.exc_type == REFUSED if letter is None or failed_at != letter.failed_at else letter.refused,
        )
    )


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


def _groups(batch: _Batch, pools: Mapping[str, Pool | None]) -> dict[tuple[int, str], _Group]:
    """The group of each cause in each pool, by pool id and digest; made when missing."""
    firsts: dict[tuple[int, str], tuple[Pool, FailedJob]] = {}
    for job_id, job in batch.jobs.items():
        if pool := pools[job_id]:
            firsts.setdefault((pool.pk, job.cause.digest), (pool, job))
    stored = FailureGroup.objects.filter(
        pool__in={pool_id for pool_id, _ in firsts}, digest__among={digest for _, digest in firsts}
    )
    known = {(pool_id, digest): _Group(*rest) for pool_id, digest, *rest in stored.values_list(*GROUP_COLUMNS)}
    missing = [
        _new_group(pool, job, job.failed_at or batch.read_at) for key, (pool, job) in firsts.items() if key not in known
    ]
    for made in FailureGroup.objects.bulk_create(missing):
        known[made.pool_id, made.digest] = _Group(made.pk, made.pool_id, made.title)
    note(Occasion.NEW, missing)
    return known


def _new_group(pool: Pool, job: FailedJob, at: datetime) -> FailureGroup:
    return FailureGroup(
        pool=pool,
        digest=job.cause.digest,
        digest_version=job.cause.version,
        title=job.cause.title[:300],
        func=job.func[:500],
        exc_type=job.exc_type[:300],
        first_seen=at,
        last_seen=at,
    )


def _workers(batch: _Batch) -> dict[str, _Ran]:
    """What is known of the workers that the jobs or their reports name."""
    names = {batch.facts[job.job_id].worker or job.worker for job in batch.jobs.values()}
    rows = Worker.objects.filter(broker=batch.alias, name__in=names)
    found = rows.values_list("name", "host", "config_number", "rq_version", "python_version")
    return {name: _Ran(host, config, rq, python) for name, host, config, rq, python in found}


def _write(batch: _Batch) -> None:
    bulk.write(DeadLetter, _Row._fields, batch.rows, unique=["broker", "job_id"])
    DeadLetter.objects.bulk_update(batch.moved, ["score"])
    FailedAttempt.objects.bulk_create(batch.attempts, ignore_conflicts=True)
    written = DeadLetter.objects.filter(broker=batch.alias, job_id__among=[row.job_id for row in batch.rows])
    jobs = {pk: batch.jobs[job_id] for job_id, pk in written.values_list("job_id", "pk")}
    details = [(pk, job.packed) for pk, job in jobs.items()]
    bulk.write(DeadLetterDetail, ["dead_letter_id", "traceback"], details, unique=["dead_letter_id"])
    write_digests({pk: job.digests for pk, job in jobs.items() if job.searched})
    hours = [(group_id, hour, count) for (group_id, hour), count in sorted(batch.hours.items())]
    bulk.write(FailureHour, ["group_id", "hour", "count"], hours, unique=["group_id", "hour"], adding=True)
    _write_tallies(batch.tallies)
    regress({group_id: tally.last for group_id, tally in batch.tallies.items() if tally.last})


def _write_tallies(tallies: Mapping[int, _Tally]) -> None:
    """In one go, and not group by group: a thousand failures may be of a thousand causes."""
    least, greatest = ("LEAST", "GREATEST") if connection.vendor == "postgresql" else ("MIN", "MAX")
    adapt = connection.ops.adapt_datetimefield_value
    rows = [
        (tally.opened, tally.failures, adapt(tally.first), adapt(tally.last), group_id)
        for group_id, tally in sorted(tallies.items())
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {FailureGroup._meta.db_table} SET open_count = open_count + %s, total_count = total_count + %s,"  # noqa: S608
            f" first_seen = {least}(first_seen, COALESCE(%s, first_seen)),"
            f" last_seen = {greatest}(last_seen, COALESCE(%s, last_seen)) WHERE id = %s",
            rows,
        )


def _queue(job: FailedJob, facts: Mapping[str, Facts]) -> str:
    """The registry's queue: there the job lies, whatever a damaged record says."""
    return facts[job.job_id].queue or job.queue
