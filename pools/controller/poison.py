"""The guard against poison: a job that comes back from its requeues with the same failure is quarantined.

``Effects`` counts how often a dead letter came back, and only what operations requeued: RQ's own retries are no
requeues. Here the count is held against the pool's limit, in one index that holds nothing but jobs that came back.
"""

from collections.abc import Callable

from pools.controller.lease import LeaderLease
from pools.models import DeadLetter, Operation, OperationKind, OperationState, Pool, is_poison

OVER = (OperationState.ENDED, OperationState.CANCELLED)


class PoisonGuard:
    """Gives each pool with poison among its dead letters to ``quarantine``, unless the last time is not over."""

    name = "poison"
    interval = 5.0

    def __init__(self, lease: LeaderLease, quarantine: Callable[[Pool], object]) -> None:
        self._lease = lease
        self._quarantine = quarantine

    def tick(self) -> bool:
        found = DeadLetter.objects.filter(is_poison()).order_by().values("pool")
        for pool in Pool.objects.filter(pk__in=found).order_by("pk"):
            if not self._at_work(pool):
                with self._lease.fenced():
                    self._quarantine(pool)
        return False

    def _at_work(self, pool: Pool) -> bool:
        ours = Operation.objects.filter(kind=OperationKind.QUARANTINE, created_by=None, pools=pool)
        return ours.exclude(state__in=OVER).exists()
