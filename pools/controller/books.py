"""Our open dead letters beside what a broker's failed registries hold: entered from there, and closed."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import batched
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from pools.broker.connection import Broker
from pools.broker.failed_jobs import FailedJob, Missing
from pools.controller.claims import searched_arguments
from pools.controller.lease import LeaderLease
from pools.controller.read_model import Facts, absorb
from pools.controller.reader import Reader, read
from pools.models import DeadLetter, DeadLetterState

CHUNK = 1000
LOT = 5000
"""Jobs that one transaction enters. It touches the same pages of the indexes for a thousand jobs as for five."""


class Letter(NamedTuple):
    """An open dead letter. ``score``: where it lay in the registry, as far as we know."""

    pk: int
    failed_at: datetime
    score: float | None


class Books:
    """Those of one broker."""

    def __init__(self, lease: LeaderLease, broker: Broker, reader: Reader) -> None:
        self._lease = lease
        self._broker = broker
        self._reader = reader
        self._new: dict[str, str] = {}
        self._asked: tuple[dict[str, str], datetime] | None = None

    def open(self, **wanted: object) -> QuerySet[DeadLetter]:
        return DeadLetter.objects.filter(broker=self._broker.alias, state=DeadLetterState.OPEN, **wanted)

    def letters(self, found: QuerySet[DeadLetter]) -> dict[str, Letter]:
        """By job id."""
        rows = found.values_list("job_id", "pk", "failed_at", "score")
        return {job_id: Letter(pk, failed_at, score) for job_id, pk, failed_at, score in rows}

    def enter(self, queue: str, ids: Collection[str]) -> None:
        """Index jobs that lie in the queue's failed registry: ``LOT`` at a time, of whatever queues, each lot while the
        next one is read; and the rest with ``flush``."""
        for job_id in ids:
            self._new[job_id] = queue
            if len(self._new) == LOT:
                queues, self._new = self._new, {}
                self._take(queues)

    def flush(self) -> None:
        queues, self._new = self._new, {}
        if self._asked:
            self._take(queues)
            self._take({})
        elif queues:
            read_at = timezone.now()
            self._absorb(queues, read(self._broker, queues, self._searched(queues)), read_at)

    def _take(self, following: dict[str, str]) -> None:
        """Enter the lot that was asked for, while the one that follows, if any, is read."""
        asked, found = self._asked, self._reader.answer() if self._asked else []
        self._asked = (following, timezone.now()) if following else None
        if following:
            self._reader.ask(following, self._searched(following))
        if asked:
            self._absorb(asked[0], found, asked[1])

    def settle(self, queue: str, letters: Mapping[str, Letter]) -> None:
        """Close letters whose jobs left the registry: requeued, when the job lives on in another state; failed again
        since; or gone. What is in the registry after all stays open."""
        for chunk in batched(letters, CHUNK):
            read_at = timezone.now()
            queues = dict.fromkeys(chunk, queue)
            found = read(self._broker, queues, self._searched(queues))
            self._settle(queue, {job_id: letters[job_id] for job_id in chunk}, found, read_at)

    def _settle(
        self, queue: str, letters: Mapping[str, Letter], found: Iterable[FailedJob | Missing], read_at: datetime
    ) -> None:
        jobs = [job for job in found if isinstance(job, FailedJob)]
        lives = {job.job_id for job in jobs if job.status and not job.is_dead}
        dead = [job for job in jobs if job.job_id not in lives and _is_news(job, letters[job.job_id], read_at)]
        self._absorb(dict.fromkeys(letters, queue), dead, read_at)
        gone = letters.keys() - lives - {job.job_id for job in dead}
        for ids, state in ((lives, DeadLetterState.REQUEUED), (gone, DeadLetterState.GONE)):
            if ids:
                with self._lease.fenced():
                    DeadLetter.objects.filter(pk__in=[letters[job_id].pk for job_id in ids]).close(state, read_at)

    def _searched(self, queues: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        return searched_arguments(self._broker.alias, queues.values())

    def _absorb(self, queues: Mapping[str, str], found: Iterable[FailedJob | Missing], read_at: datetime) -> None:
        jobs = [job for job in found if isinstance(job, FailedJob)]
        facts = {job.job_id: Facts(queues[job.job_id]) for job in jobs}
        absorb(self._lease, self._broker.alias, jobs, facts, read_at)


def _is_news(job: FailedJob, letter: Letter, read_at: datetime) -> bool:
    """It failed since, or it is in the registry: at another place than the letter says."""
    if job.score is not None and not 0 <= job.score <= read_at.timestamp():
        return True
    return job.failed_at is not None and job.failed_at > letter.failed_at
