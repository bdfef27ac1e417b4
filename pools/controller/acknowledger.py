"""Notes which run commands have arrived, sooner than the next look at the whole broker: somebody waits at the page."""

from collections import defaultdict
from collections.abc import Iterable

from django.utils import timezone

from pools.broker.connection import get_broker
from pools.broker.heartbeats import read_heartbeats
from pools.controller.lease import LeaderLease
from pools.controller.sampling.beat import Beat, read_beats
from pools.models import AgentPool, RunCommand


class Acknowledger:
    """A command is acknowledged when every living agent of its pool says it applied that generation or a later one.

    Without an open command there is no question to the broker.
    """

    name = "acknowledger"
    interval = 0.25

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias

    def tick(self) -> bool:
        waiting = RunCommand.objects.filter(acknowledged_at=None, pool__broker=self._alias)
        commands = list(waiting.values_list("pk", "pool", "generation"))
        served = AgentPool.objects.filter(pool__in={pool for _, pool, _ in commands}, agent__gone_at=None)
        agents = list(served.values_list("pool", "pool__uid", "agent__name")) if commands else []
        if not agents:
            return False
        said = _generations(read_beats(read_heartbeats(get_broker(self._alias))))
        applied: dict[int, list[int]] = defaultdict(list)
        for pool, uid, agent in agents:
            applied[pool].append(said.get((agent, str(uid)), 0))
        arrived = [pk for pk, pool, generation in commands if pool in applied and min(applied[pool]) >= generation]
        if arrived:
            with self._lease.fenced():
                RunCommand.objects.filter(pk__in=arrived).update(acknowledged_at=timezone.now())
        return False


def _generations(beats: Iterable[Beat]) -> dict[tuple[str, str], int]:
    """What each agent says it applied, by agent name and pool uid."""
    return {(beat.agent, pool.pool_uid): pool.generation for beat in beats for pool in beat.pools}
