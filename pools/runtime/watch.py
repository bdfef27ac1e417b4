"""Notices workers that fell silent together with their agent: a host that died, or that nobody can reach.

Only what this process saw, on its own clock, counts: clocks of other hosts may be wrong, and while Redis was away
nobody could give a sign of life. A worker whose agent alone died goes on beating, and is left alone.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pools.runtime.keys import Keys
from pools.runtime.reaper import Order, sign, sign_of
from pools.runtime.worker_config import Lost

# Agents beat every second; the console calls one gone after as long.
AGENT_SECONDS = 6.0
# Busy workers beat every 5 s, idle ones every 10 s.
WORKER_SECONDS = 12.0
# One looks, for all, an agent or the controller: three missed looks, and another takes over.
LEASE_SECONDS = 3
# After a longer pause between two looks nothing is known of the time between.
LONGEST_GAP = 4.0
NO_SIGN = sign_of(None, set(), None)


@dataclass(frozen=True)
class Silent:
    """A worker that has given no sign of life for too long. ``seen``: its last one; ``agent``: who reported it."""

    agent: str
    worker: str
    pool_uid: str
    config: int
    seen: str

    def last_will(self, failure_ttl: int) -> Order:
        """What to do about it. ``failure_ttl``: seconds that a dead letter is kept which does not say so itself."""
        why = f"Worker {self.worker} was lost while it ran this job: its host fell silent (agent {self.agent})."
        return Order(Lost(self.worker, why), self.pool_uid, self.config, failure_ttl, self.seen)


class Watch:
    """``look`` is called about once a second; ``forget`` when Redis was away."""

    def __init__(self, keys: Keys, agent: str) -> None:
        self._keys = keys
        self._agent = agent
        self._agents: dict[str, tuple[bytes, float]] = {}
        self._workers: dict[str, tuple[str, float]] = {}
        self._told: dict[str, str] = {}
        self._gone: set[str] = set()
        self._looked = 0.0

    def forget(self) -> None:
        self._agents, self._workers, self._told, self._gone = {}, {}, {}, set()

    def look(self, client: Any, now: float) -> list[Silent]:
        """The workers whose silence has just become too long; each once, unless it spoke since. Raises redis errors."""
        if now - self._looked > LONGEST_GAP:
            self.forget()
        self._looked = now
        if not self._leads(client):
            return []
        beats = {name.decode(errors="replace"): raw for name, raw in client.hgetall(self._keys.agents).items()}
        self._agents = {name: _since(self._agents.get(name), raw, now) for name, raw in beats.items()}
        quiet = {name: raw for name, raw in beats.items() if self._agents[name][1] < now and name != self._agent}
        said_to_run = {said.worker: said for name, raw in quiet.items() for said in _workers(name, raw)}
        reported = {name: said for name, said in said_to_run.items() if name not in self._gone}
        signs = self._signs(client, reported)
        self._workers = {name: _since(self._workers.get(name), seen, now) for name, seen in signs.items()}
        overdue = list(self._overdue(reported.values(), now))
        # Their hosts stay listed for a day: what has left no trace is not asked for each second.
        self._gone = (self._gone & said_to_run.keys()) | {name for name in self._told if signs.get(name) == NO_SIGN}
        return overdue

    def _leads(self, client: Any) -> bool:
        """Two leaders at once do no harm: what they find is re-checked before it is touched."""
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set(self._keys.reaper, self._agent, nx=True, ex=LEASE_SECONDS)
            pipeline.get(self._keys.reaper)
            holder = pipeline.execute()[1]
        if holder != self._agent.encode():
            return False
        client.expire(self._keys.reaper, LEASE_SECONDS)
        return True

    def _signs(self, client: Any, workers: Iterable[str]) -> dict[str, str]:
        names = list(workers)
        with client.pipeline(transaction=False) as pipeline:
            for name in names:
                sign(pipeline, self._keys, name)
            found = pipeline.execute()
        return {name: sign_of(*found[3 * n : 3 * n + 3]) for n, name in enumerate(names)}

    def _overdue(self, reported: Iterable["_Said"], now: float) -> Iterator[Silent]:
        for said in reported:
            seen, since = self._workers[said.worker]
            agent_silent = now - self._agents[said.agent][1] >= AGENT_SECONDS
            if agent_silent and now - since >= WORKER_SECONDS and self._told.get(said.worker) != seen:
                self._told[said.worker] = seen
                yield Silent(said.agent, said.worker, said.pool_uid, said.config, seen)


@dataclass(frozen=True)
class _Said:
    agent: str
    worker: str
    pool_uid: str
    config: int


def _since[T](before: tuple[T, float] | None, found: T, now: float) -> tuple[T, float]:
    return before if before is not None and before[0] == found else (found, now)


def _workers(agent: str, raw: bytes) -> Iterator[_Said]:
    """Those that an agent's last heartbeat names; anybody with Redis access may have written it."""
    try:
        for worker in json.loads(raw)["workers"]:
            if worker["pid"]:  # a backoff has no process
                str(worker["name"]).encode()  # ValueError: no key can have that name
                yield _Said(agent, str(worker["name"]), str(worker["pool_uid"]), int(worker["config"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return
