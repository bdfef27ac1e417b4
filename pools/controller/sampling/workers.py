"""Workers as sampled, from two witnesses: RQ's own record on the broker, and the agent that supervises the worker.

A worker lives while a living agent lists it or its own connection to the broker is open; how long it has been idle says
nothing. It is gone when its living agent has reaped it, when its record is gone, or when its connection has been closed
for longer than a reconnect takes. When nobody can tell (just after a restart of the broker), it stays what it was.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pools.broker.sampler import WorkerSnapshot
from pools.controller.claims import Claims
from pools.controller.sampling.agents import AgentRows
from pools.controller.sampling.beat import WorkerBeat
from pools.controller.sampling.changes import snapshot, upsert
from pools.controller.untrusted import LARGEST
from pools.models import Agent, Pool, Worker

RECONNECT = 3.5
"""Seconds that a closed connection may take to come back (redis-py: 2) before its worker counts as gone."""

FIELDS = ["pool_id", "agent_id", "host", "pid", "queues", "state", "current_job_id", "current_func", "current_since"]
FIELDS += ["config_number", "restarts", "born_at", "gone_at", "rq_version", "python_version", "successful", "failed"]
COLUMNS = [name.removesuffix("_id") if name in ("pool_id", "agent_id") else name for name in FIELDS]


@dataclass
class WorkerRows:
    """Workers that live now; rows to write; and by pool id, jobs done and failed since the last look."""

    alive: list[Worker] = field(default_factory=list)
    changed: list[Worker] = field(default_factory=list)
    done: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)

    def write(self) -> None:
        upsert(self.changed, ["broker", "name"], [*COLUMNS, "last_seen"])


@dataclass(frozen=True)
class Look:
    """When we look. ``tick`` in steady seconds; ``previous``: the last look, None when too long ago to compare."""

    now: datetime
    tick: float
    previous: datetime | None


class WorkerWatch:
    """Remembers since when each worker has been without a connection."""

    def __init__(self) -> None:
        self._missing: dict[str, float] = {}

    def rows(
        self, alias: str, seen: Sequence[WorkerSnapshot], agents: AgentRows, claims: Claims, look: Look
    ) -> WorkerRows:
        """Judge the workers of a broker."""
        found = WorkerRows()
        snapshots = {worker.name: worker for worker in seen}
        listed = {said.name: (agent, said) for agent, beat in agents.alive.values() for said in beat.workers}
        stored = _stored(alias, {*snapshots, *listed})
        for name in sorted({*stored, *snapshots, *listed}):
            row, record = stored.get(name), snapshots.get(name)
            agent, said = listed.get(name, (None, None))
            pool = _pool(row, record, said, claims)
            lives = self._lives(name, row, record, said is not None, agents, look)
            if pool is None or (row is None and not lives):
                continue
            row = row or Worker(broker=alias, name=name)
            before = snapshot(row, FIELDS)
            if lives:
                _count(found, row, record, pool, look)
                _describe(row, pool, agent, record, said)
                found.alive.append(row)
            row.gone_at = None if lives else row.gone_at or look.now
            if row.pk is None or snapshot(row, FIELDS) != before:
                row.last_seen = look.now
                found.changed.append(row)
        return found

    def _lives(
        self,
        name: str,
        row: Worker | None,
        record: WorkerSnapshot | None,
        listed: bool,
        agents: AgentRows,
        look: Look,
    ) -> bool:
        connected = record.connected if record else False
        if listed or connected:
            self._missing.pop(name, None)
            return True
        lived = row is not None and row.gone_at is None
        if record is None or not lived:
            self._missing.pop(name, None)
            return lived and record is not None
        if connected is None:
            return True
        if row is not None and any(row.agent_id == agent.pk for agent, _ in agents.alive.values()):
            return False
        return look.tick - self._missing.setdefault(name, look.tick) < RECONNECT


def _stored(alias: str, names: set[str]) -> dict[str, Worker]:
    """The rows of workers that live, and of those in ``names``."""
    of_broker = Worker.objects.filter(broker=alias)
    stored = {row.name: row for row in of_broker.filter(gone_at=None)}
    unknown = names - stored.keys()
    if unknown:
        stored |= {row.name: row for row in of_broker.filter(name__in=unknown)}
    return stored


def _pool(
    row: Worker | None,
    record: WorkerSnapshot | None,
    said: WorkerBeat | None,
    claims: Claims,
) -> Pool | None:
    """Its agent knows; else the first of its queues tells; else it stays where it was."""
    if said is not None and said.pool_uid in claims.by_uid:
        return claims.by_uid[said.pool_uid]
    for queue in record.queues if record else []:
        pool = claims.pool_of(queue)
        if pool is not None:
            return pool
    return claims.by_id.get(row.pool_id) if row is not None else None


def _describe(
    row: Worker, pool: Pool, agent: Agent | None, record: WorkerSnapshot | None, said: WorkerBeat | None
) -> None:
    row.pool = pool
    if record is not None:
        row.host, row.queues = record.host, record.queues
        row.pid = record.pid if record.pid is not None and 0 <= record.pid < 2**31 else None
        row.state, row.born_at = record.state or "idle", record.birth
        row.current_job_id = (record.current_job_id or "")[:500]
        row.current_func = record.current_func or ""
        row.current_since = record.current_started_at
        row.rq_version, row.python_version = record.rq_version, record.python_version
        row.successful, row.failed = min(record.successful, LARGEST), min(record.failed, LARGEST)
    if agent is not None and said is not None:
        row.agent, row.host, row.config_number, row.restarts = agent, agent.host, said.config, said.restarts
        row.pid = said.pid or row.pid
        if record is None or said.state != "running":
            row.state = said.state
        if record is None:
            row.current_job_id, row.current_func, row.current_since = "", "", None
            row.born_at = datetime.fromtimestamp(said.started_at, UTC) if said.started_at else row.born_at


def _count(found: WorkerRows, row: Worker, record: WorkerSnapshot | None, pool: Pool, look: Look) -> None:
    """Add what the worker's own counters gained since the last look; unknown after a gap, so nothing then."""
    if record is None or look.previous is None:
        return
    if row.pk is not None:
        done, failed = record.successful - row.successful, record.failed - row.failed
    elif record.birth is not None and record.birth > look.previous - timedelta(seconds=1):
        done, failed = record.successful, record.failed
    else:
        return
    # A counter that went back belongs to a new worker of the same name.
    found.done[pool.pk] += done if done >= 0 else record.successful
    found.failed[pool.pk] += failed if failed >= 0 else record.failed


def queue_names(workers: Iterable[WorkerSnapshot]) -> set[str]:
    """The queues that workers listen on, whether jobs were ever put there or not."""
    return {queue for worker in workers for queue in worker.queues if len(queue) <= 255}
