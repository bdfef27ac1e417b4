"""Reconciles dead letters with RQ's failed registries: they are the truth, and hold stock workers' failures too."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import batched
from typing import NamedTuple

from django.db.models import Count
from django.utils import timezone

from pools.broker.connection import Broker, get_broker
from pools.broker.failed_jobs import FailedJob, Missing, read_failed, scan_failed
from pools.controller.lease import LeaderLease
from pools.controller.read_model import Facts, absorb
from pools.models import BrokerState, DeadLetter, DeadLetterState, QueueState

CHUNK = 1000
FULL_EVERY = 60.0

type Counts = tuple[int, int]


class Letter(NamedTuple):
    """An open dead letter."""

    pk: int
    failed_at: datetime


@dataclass
class Look:
    """The last look at a queue: when, the counts after it, and each job's score, which changes when it fails again."""

    at: float
    counts: Counts
    scores: dict[str, float]


class Scanner:
    """Looks at a queue when the count of its registry and that of its open dead letters differ in a new way, or when
    the last look is a minute old.
    """

    name = "scanner"
    interval = 5.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._looks: dict[str, Look] = {}

    def tick(self) -> bool:
        broker = get_broker(self._alias)
        for queue, counts in self._counts().items():
            if self._is_due(queue, counts):
                scores = self._reconcile(broker, queue)
                self._looks[queue] = Look(time.monotonic(), self._counts(queue).get(queue, (0, 0)), scores)
        BrokerState.objects.filter(alias=self._alias).update(scanned_at=timezone.now())
        return False

    def _is_due(self, queue: str, counts: Counts) -> bool:
        last = self._looks.get(queue)
        if counts == (0, 0):
            return False
        if last is None or time.monotonic() - last.at > FULL_EVERY:
            return True
        # Counts that differ and stay: entries without a record, which RQ itself will sweep.
        return counts[0] != counts[1] and counts != last.counts

    def _counts(self, queue: str | None = None) -> dict[str, Counts]:
        """Queue → jobs that the sampler saw in its registry, and open dead letters."""
        only = {"name": queue} if queue else {}
        failed = dict(QueueState.objects.filter(broker=self._alias, **only).values_list("name", "failed"))
        letters = DeadLetter.objects.filter(broker=self._alias, state=DeadLetterState.OPEN)
        if queue:
            letters = letters.filter(queue=queue)
        known = dict(letters.values_list("queue").annotate(Count("pk")).order_by())
        return {name: (failed.get(name, 0), known.get(name, 0)) for name in failed.keys() | known.keys()}

    def _reconcile(self, broker: Broker, queue: str) -> dict[str, float]:
        # The open letters first: one that is opened while we scan must not look as if it had vanished.
        known = self._open_letters(queue)
        scores = scan_failed(broker, queue)
        before = self._looks[queue].scores if queue in self._looks else {}
        again = {
            job_id for job_id in known.keys() & scores.keys() if scores[job_id] != before.get(job_id, scores[job_id])
        }
        for chunk in batched((scores.keys() - known.keys()) | again, CHUNK):
            read_at = timezone.now()
            self._absorb(queue, read_failed(broker, chunk), read_at)
        for chunk in batched(known.keys() - scores.keys(), CHUNK):
            read_at = timezone.now()
            self._close(queue, {job_id: known[job_id] for job_id in chunk}, read_failed(broker, chunk), read_at)
        return scores

    def _open_letters(self, queue: str) -> dict[str, Letter]:
        letters = DeadLetter.objects.filter(broker=self._alias, queue=queue, state=DeadLetterState.OPEN)
        return {
            job_id: Letter(pk, failed_at) for job_id, pk, failed_at in letters.values_list("job_id", "pk", "failed_at")
        }

    def _absorb(self, queue: str, found: Iterable[FailedJob | Missing], read_at: datetime) -> None:
        jobs = [job for job in found if isinstance(job, FailedJob)]
        absorb(self._lease, self._alias, jobs, {job.job_id: Facts(queue) for job in jobs}, read_at)

    def _close(
        self, queue: str, letters: dict[str, Letter], found: Iterable[FailedJob | Missing], read_at: datetime
    ) -> None:
        """These left the registry: requeued, when the job lives on in another state; failed again since; or gone."""
        jobs = [job for job in found if isinstance(job, FailedJob)]
        lives = {job.job_id for job in jobs if job.status and not job.is_dead}
        failed_again = [
            job for job in jobs if job.is_dead and job.failed_at and job.failed_at > letters[job.job_id].failed_at
        ]
        self._absorb(queue, failed_again, read_at)
        gone = letters.keys() - lives - {job.job_id for job in failed_again}
        for ids, state in ((lives, DeadLetterState.REQUEUED), (gone, DeadLetterState.GONE)):
            if ids:
                with self._lease.fenced():
                    DeadLetter.objects.filter(pk__in=[letters[job_id].pk for job_id in ids]).close(state, read_at)
