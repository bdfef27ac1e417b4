"""What the console sets aside by itself: poison, and jobs that workers refused to run.

A job is poison when it came back from its requeues with the same failure: ``Effects`` counts how often, and only what
operations requeued, not RQ's own retries. Here the count is held against the pool's limit. Both conditions have an
index that holds nothing but such jobs.
"""

from collections.abc import Callable

from pools.controller.lease import LeaderLease
from pools.models import DeadLetter, Operation, OperationKind, OperationState, Pool, is_poison, is_refused

OVER = (OperationState.ENDED, OperationState.CANCELLED)


class QuarantineGuard:
    """Gives each pool with such dead letters to ``quarantine``, unless the last time is not over."""

    name = "quarantine"
    interval = 5.0

    def __init__(self, lease: LeaderLease, quarantine: Callable[[Pool], object]) -> None:
        self._lease = lease
        self._quarantine = quarantine

    def tick(self) -> bool:
        found: set[int] = set()
        for condition in (is_refused(), is_poison()):
            found |= set(DeadLetter.objects.filter(condition).order_by().values_list("pool", flat=True).distinct())
        for pool in Pool.objects.filter(pk__in=found).order_by("pk"):
            if not self._at_work(pool):
                with self._lease.fenced():
                    self._quarantine(pool)
        return False

    def _at_work(self, pool: Pool) -> bool:
        ours = Operation.objects.filter(kind=OperationKind.QUARANTINE, created_by=None, pools=pool)
        return ours.exclude(state__in=OVER).exists()
