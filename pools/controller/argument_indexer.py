"""Open dead letters under the paths that their pool names now: after a change of these nothing is to be done."""

from typing import Any

from pools.broker.connection import get_broker
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.controller.arguments import write_digests
from pools.controller.lease import LeaderLease
from pools.controller.read_model import one_at_a_time
from pools.models import DeadLetter, DeadLetterState, Pool

LETTERS = 1000


class ArgumentIndexer:
    """Walks through the open dead letters of a pool whose paths were changed.

    The pool's ``indexed_arguments`` say meanwhile that a walk is under way: when they say something else before its
    end, it begins anew, as it does with a new controller.
    """

    name = "arguments"
    interval = 5.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._walk: tuple[int, dict[str, Any]] | None = None
        self._last = 0

    def tick(self) -> bool:
        # What fails again meanwhile is written before or after, and never before what is read here.
        with one_at_a_time:
            pools = Pool.objects.filter(broker=self._alias).order_by("pk")
            pool = next((pool for pool in pools if pool.indexed_arguments != pool.searchable_arguments), None)
            if pool is None:
                return False
            walk = {"walk": pool.searchable_arguments}
            if self._walk != (pool.pk, walk) or pool.indexed_arguments != walk:
                self._begin(pool, walk)
            if not self._step(pool):
                self._end(pool, walk)
        return True

    def _begin(self, pool: Pool, walk: dict[str, Any]) -> None:
        with self._lease.fenced():
            Pool.objects.filter(pk=pool.pk).update(indexed_arguments=walk)
        self._walk, self._last = (pool.pk, walk), 0

    def _step(self, pool: Pool) -> bool:
        """In the order of the whole table, which needs no sorting. False at the end."""
        letters = DeadLetter.objects.filter(pk__gt=self._last).order_by("pk")
        page = list(letters.values_list("pk", "job_id", "queue", "broker", "pool_id", "state")[:LETTERS])
        there = (self._alias, pool.pk, DeadLetterState.OPEN)
        rows = {job_id: (pk, queue) for pk, job_id, queue, *where in page if tuple(where) == there}
        if rows:
            digests = self._digests(pool, {job_id: queue for job_id, (_, queue) in rows.items()})
            with self._lease.fenced():
                write_digests({pk: digests.get(job_id, {}) for job_id, (pk, _) in rows.items()})
        self._last = page[-1][0] if page else self._last
        return bool(page)

    def _digests(self, pool: Pool, queues: dict[str, str]) -> dict[str, dict[str, bytes]]:
        if not pool.searchable_arguments:
            return {}
        searched = dict.fromkeys(queues.values(), tuple(pool.searchable_arguments))
        found = read_failed(get_broker(self._alias), list(queues), queues, searched)
        return {job.job_id: dict(job.digests) for job in found if isinstance(job, FailedJob)}

    def _end(self, pool: Pool, walk: dict[str, Any]) -> None:
        self._walk = None
        with self._lease.fenced():
            now = Pool.objects.select_for_update().get(pk=pool.pk)
            if now.indexed_arguments == walk:
                Pool.objects.filter(pk=pool.pk).update(indexed_arguments=pool.searchable_arguments)
