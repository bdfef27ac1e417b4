"""Each pool's figures of this look, in one row, so that a page asks for nothing else."""

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Sum

from pools.controller.sampling.agents import AgentRows
from pools.controller.sampling.changes import upsert
from pools.controller.sampling.workers import WorkerRows
from pools.models import Agent, ConfigVersion, FailureGroup, Pool, PoolNow, QueueState

FIELDS = ["waiting", "oldest_enqueued_at", "workers", "busy", "wanted", "done_per_minute", "failed_last_hour"]
FIELDS += ["dead_letters", "gates", "sampled_at"]
WINDOW = 60.0
SHORTEST_WINDOW = 10.0


class Rate:
    """Jobs done a minute, by pool id, over the last 60 s or as far back as we have looked."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, Counter[int]]] = deque()

    def add(self, tick: float, done: Counter[int]) -> None:
        self._looks.append((tick, done))
        while self._looks[0][0] <= tick - WINDOW:
            self._looks.popleft()

    def per_minute(self, pool_id: int) -> int:
        # The first look opens the window; what it counted lies before it.
        seconds = max(self._looks[-1][0] - self._looks[0][0], SHORTEST_WINDOW)
        done = sum(counter[pool_id] for _, counter in list(self._looks)[1:])
        return round(done * 60 / seconds)


@dataclass(frozen=True)
class Wanted:
    """Workers that a config asks for on each agent with the labels of ``placement``."""

    workers: int = 0
    placement: Mapping[str, str] = field(default_factory=dict)

    def on(self, agent: Agent) -> int:
        return self.workers if self.placement.items() <= agent.labels.items() else 0


class WantedWorkers:
    """What each pool's published config asks for; a version is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Wanted] = {}

    def of(self, pools: Sequence[Pool]) -> dict[int, Wanted]:
        """By pool id."""
        unknown = {(pool.pk, pool.published_number) for pool in pools if pool.published_number} - self._known.keys()
        if unknown:
            versions = ConfigVersion.objects.filter(
                pool__in={pool_id for pool_id, _ in unknown}, number__in={number for _, number in unknown}
            )
            for version in versions:
                spec = json.loads(bytes(version.spec))
                self._known[version.pool_id, version.number] = Wanted(spec["workers"], spec["placement"])
        return {pool.pk: self._known.get((pool.pk, pool.published_number), Wanted()) for pool in pools}


@dataclass(frozen=True)
class Seen:
    """One look's queues, agents and workers."""

    queues: Sequence[QueueState]
    agents: AgentRows
    workers: WorkerRows


def pool_figures(
    pools: Sequence[Pool],
    seen: Seen,
    wanted: Mapping[int, Wanted],
    failed_last_hour: dict[int, int],
    rate: Rate,
    now: datetime,
) -> list[PoolNow]:
    """A row for each pool."""
    rows = {pool.pk: PoolNow(pool=pool, sampled_at=now) for pool in pools}
    for queue in seen.queues:
        row = rows[queue.pool_id]
        row.waiting += queue.depth
        if queue.oldest_enqueued_at is not None:
            row.oldest_enqueued_at = min(row.oldest_enqueued_at or queue.oldest_enqueued_at, queue.oldest_enqueued_at)
    for worker in seen.workers.alive:
        rows[worker.pool_id].workers += 1
        rows[worker.pool_id].busy += bool(worker.current_job_id)
    for served in seen.agents.pools:
        rows[served.pool_id].wanted += wanted[served.pool_id].on(served.agent)
    dead = FailureGroup.objects.filter(open_count__gt=0).values_list("pool").annotate(Sum("open_count")).order_by()
    for pool_id, count in dead:
        if pool_id in rows:
            rows[pool_id].dead_letters = count
    for pool_id, row in rows.items():
        row.done_per_minute = rate.per_minute(pool_id)
        row.failed_last_hour = failed_last_hour.get(pool_id, 0)
    return list(rows.values())


def write_figures(rows: Sequence[PoolNow]) -> None:
    upsert(rows, ["pool"], FIELDS)
