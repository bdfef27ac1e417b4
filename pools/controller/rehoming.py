"""Open dead letters follow their queue when another pool claims it: a managed pool takes over what was attached."""

from pools.broker.fingerprint import Fingerprint
from pools.controller.arguments import index_anew
from pools.controller.claims import load_claims
from pools.controller.lease import LeaderLease
from pools.controller.twins import inherited, move, move_hours, twin
from pools.models import DeadLetter, DeadLetterState, FailureGroup, Pool


class Rehoming:
    """Permissions, figures and the inbox follow the pool, so its dead letters must be those of its queues.

    Closed ones stay where they were closed: they are history.
    """

    name = "rehoming"
    interval = 5.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._settled: dict[str, int] | None = None

    def tick(self) -> bool:
        claims = load_claims(self._alias)
        claimed = {queue: pool.pk for queue, pool in claims.by_queue.items()}
        if claimed == self._settled:
            return False
        letters = DeadLetter.objects.filter(broker=self._alias, state=DeadLetterState.OPEN)
        moved = 0
        for queue, group in letters.order_by().values_list("queue", "group").distinct():
            pool = claims.pool_of(queue)
            if pool is not None:
                moved += self._move(queue, group, pool)
        # Once more after a move: letters that were being absorbed meanwhile went by the claims of before.
        if not moved:
            self._settled = claimed
        return False

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
