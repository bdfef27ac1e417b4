"""Whose a queue is, and those that dead letters may be moved to."""

from dataclasses import dataclass

from audit.actor import Actor
from pools.models import Pool, PoolKind
from pools.permissions import REQUEUE, pools_with, visible_pools


@dataclass(frozen=True)
class Target:
    """A queue, and the pool that serves it."""

    name: str
    pool: Pool


def pool_having(actor: Actor, broker: str, queue: str) -> Pool | None:
    """The pool that has the queue of this name on this broker, if the actor sees it. None without a name."""
    if not queue:
        return None
    pools = visible_pools(actor).filter(broker=broker).order_by("pk")
    # A queue that a managed pool claims is that pool's; should two claim it, the older has it.
    having = [pool for pool in pools if queue in pool.queues]
    having.sort(key=lambda pool: pool.kind != PoolKind.MANAGED)
    return having[0] if having else None


def target_of(actor: Actor, broker: str, name: str) -> Target | None:
    """The queue of this name on this broker, if a pool that the actor sees has it. The console's own is nobody's."""
    pool = pool_having(actor, broker, name)
    return Target(name, pool) if pool and pool.kind != PoolKind.CONSOLE else None


def targets(actor: Actor, broker: str) -> list[Target]:
    """The queues to which the actor may move dead letters of this broker, by name."""
    pools = pools_with(actor, REQUEUE).filter(broker=broker).exclude(kind=PoolKind.CONSOLE)
    found = {name: Target(name, pool) for pool in pools.order_by("-pk") for name in pool.queues}
    return [found[name] for name in sorted(found)]
