"""Agents as heard. An agent lives while its beats go on by our own clock; its own clock is not trusted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from audit.actor import system_actor
from audit.recorder import record
from audit.target import Target
from pools.controller.sampling.beat import Beat, PoolBeat
from pools.controller.sampling.changes import snapshot, upsert
from pools.models import Agent, AgentPool, Pool

SILENCE = 6.0
"""Seconds without a new beat after which an agent is gone. Agents beat every second."""

FIELDS = ["host", "pid", "boot", "seq", "labels", "version", "python_version", "rq_version", "root_sha256"]
FIELDS += ["last_seen", "gone_at"]
POOL_FIELDS = ["told", "verified", "running", "generation", "run_state", "refused_version", "refused_code"]
POOL_FIELDS += ["refused_detail", "refused_at", "boot_failure", "boot_failed_at"]


@dataclass
class AgentRows:
    """The agents that speak now, by name; what changed; and what the log shall say."""

    alive: dict[str, tuple[Agent, Beat]] = field(default_factory=dict)
    changed: list[Agent] = field(default_factory=list)
    events: list[tuple[str, Agent]] = field(default_factory=list)
    pools: list[AgentPool] = field(default_factory=list)
    changed_pools: list[AgentPool] = field(default_factory=list)
    left_pools: list[int] = field(default_factory=list)

    def write(self) -> None:
        upsert(self.changed, ["broker", "name"], FIELDS)
        if self.left_pools:
            AgentPool.objects.filter(pk__in=self.left_pools).delete()
        upsert(self.changed_pools, ["agent", "pool"], POOL_FIELDS)
        for action, agent in self.events:
            record(
                actor=system_actor("controller"),
                action=action,
                target=Target(kind="agent", id=agent.name, name=agent.name),
                detail={"host": agent.host, "last_seen": agent.last_seen.isoformat()},
            )


class AgentWatch:
    """Remembers when each agent's beat last moved."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[tuple[str, int], float]] = {}

    def rows(
        self, alias: str, beats: Sequence[Beat], pools: dict[str, Pool], *, at: float, tick: float, since: float
    ) -> AgentRows:
        """Judge the agents. ``at`` is the broker's clock; ``tick`` and ``since`` are steady seconds: this look, and the
        first of an unbroken series of looks, for silence counts only while we were listening.
        """
        found = AgentRows()
        stored = {agent.name: agent for agent in Agent.objects.filter(broker=alias)}
        now = datetime.now(UTC)
        for beat in beats:
            agent = stored.pop(beat.agent, None)
            moved = self._moved(beat, agent, tick)
            if agent is None:
                if not moved and abs(at - beat.at) > SILENCE:
                    continue  # what a dead agent left behind
                agent, moved = Agent(broker=alias, name=beat.agent, last_seen=now), True
                found.events.append(("agent.seen_first", agent))
            if moved:
                self._hear(found, agent, beat, now)
            else:
                self._miss(found, agent, now, tick, since)
            if agent.gone_at is None:
                found.alive[agent.name] = (agent, beat)
        for agent in stored.values():
            self._miss(found, agent, now, tick, since)
        self._pool_rows(found, pools)
        return found

    def _moved(self, beat: Beat, agent: Agent | None, tick: float) -> bool:
        """Is this another beat than the last one? At first sight of a stranger there is no telling: False."""
        mark = (beat.boot, beat.seq)
        heard = self._heard.get(beat.agent)
        last = heard[0] if heard else (agent.boot, agent.seq) if agent else mark
        if heard is None or last != mark:
            self._heard[beat.agent] = (mark, tick)
        return last != mark

    def _hear(self, found: AgentRows, agent: Agent, beat: Beat, now: datetime) -> None:
        if agent.gone_at is not None:
            agent.gone_at = None
            found.events.append(("agent.returned", agent))
        _describe(agent, beat)
        agent.last_seen = now
        found.changed.append(agent)

    def _miss(self, found: AgentRows, agent: Agent, now: datetime, tick: float, since: float) -> None:
        if agent.gone_at is not None:
            return
        heard = self._heard.get(agent.name)
        if tick - max(heard[1] if heard else since, since) >= SILENCE:
            agent.gone_at = now
            found.changed.append(agent)
            found.events.append(("agent.lost", agent))

    def _pool_rows(self, found: AgentRows, pools: dict[str, Pool]) -> None:
        ids = [agent.pk for agent, _ in found.alive.values() if agent.pk is not None]
        stored = {(row.agent_id, row.pool_id): row for row in AgentPool.objects.filter(agent__in=ids)}
        for agent, beat in found.alive.values():
            for said in beat.pools:
                pool = pools.get(said.pool_uid)
                if pool is None:
                    continue
                row = stored.pop((agent.pk or 0, pool.pk), None) or AgentPool(agent=agent, pool=pool)
                before = snapshot(row, POOL_FIELDS)
                _describe_pool(row, said)
                found.pools.append(row)
                if row.pk is None or snapshot(row, POOL_FIELDS) != before:
                    found.changed_pools.append(row)
        found.left_pools = [row.pk for row in stored.values()]


def _describe(agent: Agent, beat: Beat) -> None:
    agent.host, agent.pid, agent.boot, agent.seq, agent.labels = beat.host, beat.pid, beat.boot, beat.seq, beat.labels
    agent.version, agent.python_version, agent.rq_version = beat.version, beat.python, beat.rq
    agent.root_sha256 = beat.root


def _describe_pool(row: AgentPool, said: PoolBeat) -> None:
    row.told, row.verified, row.running = said.told, said.verified, said.running
    row.generation, row.run_state = said.generation, said.run_state
    refused, failure = said.refused, said.boot_failure
    row.refused_version = refused.version if refused else None
    row.refused_code = refused.code if refused else ""
    row.refused_detail = refused.detail if refused else ""
    row.refused_at = datetime.fromtimestamp(refused.at, UTC) if refused else None
    row.boot_failure = failure.message or f"exit code {failure.exit_code}" if failure else ""
    row.boot_failed_at = datetime.fromtimestamp(failure.at, UTC) if failure else None
