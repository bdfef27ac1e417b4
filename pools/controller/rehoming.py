"""Open dead letters follow their queue when another pool claims it: a managed pool takes over what was attached."""

from datetime import timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from pools.broker.fingerprint import Fingerprint
from pools.controller.arguments import index_anew
from pools.controller.claims import load_claims
from pools.controller.lease import LeaderLease
from pools.controller.twins import inherited, move, move_hours, twin
from pools.models import (
    DeadLetter,
    DeadLetterState,
    FailureGroup,
    Operation,
    OperationItem,
    OperationKind,
    Outcome,
    Pool,
)

COMMITTED_LATE = timedelta(minutes=1)


class Rehoming:
    """Permissions, figures and the inbox follow the pool, so its dead letters must be those of its queues.

    Closed ones stay where they were closed: they are history, until they are restored or recalled.
    """

    name = "rehoming"
    interval = 5.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._settled: dict[str, int] | None = None
        self._looked = timezone.now()

    def tick(self) -> bool:
        now, claims = timezone.now(), load_claims(self._alias)
        claimed = {queue: pool.pk for queue, pool in claims.by_queue.items()}
        if claimed == self._settled and not self._put_back():
            return False
        letters = DeadLetter.objects.filter(broker=self._alias, state=DeadLetterState.OPEN)
        moved = 0
        for queue, group in letters.order_by().values_list("queue", "group").distinct():
            pool = claims.pool_of(queue)
            if pool is not None:
                moved += self._move(queue, group, pool)
        # Once more after a move: letters that were being absorbed meanwhile went by the claims of before.
        if not moved:
            self._settled, self._looked = claimed, now
        return False

    def _put_back(self) -> bool:
        """Whether an operation made dead letters of closed ones since: they are again where they were closed."""
        lately = Operation.objects.filter(broker=self._alias, progressed_at__gte=self._looked - COMMITTED_LATE)
        recalled = OperationItem.objects.filter(operation=OuterRef("pk"), outcome=Outcome.RECALLED)
        return lately.filter(Q(kind=OperationKind.RESTORE) | Exists(recalled)).exists()

    def _move(self, queue: str, group_id: int, pool: Pool) -> int:
        """Move a queue's open letters of one cause to the same cause in ``pool``; returns how many moved."""
        old = FailureGroup.objects.get(pk=group_id)
        if old.pool_id == pool.pk:
            return 0
        with self._lease.fenced():
            new = inherited(old, twin(old, pool, Fingerprint(old.digest_version, old.digest, old.title)))
            letters = DeadLetter.objects.filter(broker=self._alias, queue=queue, group=old, state=DeadLetterState.OPEN)
            move_hours(old, new, letters.order_by().values_list("failed_at", flat=True).iterator(5000))
            moved = letters.update(group=new, pool=pool)
            move(old, new, opened=moved, failures=moved)
            index_anew([pool.pk] if pool.searchable_arguments else [])
        return moved
