"""Decides the jobs of hosts that died when no agent is left to do it."""

import json
import socket

from audit.actor import system_actor
from audit.recorder import record
from pools.broker.connection import get_broker
from pools.broker.silence import Listener
from pools.controller.event_bodies import WorkerLost
from pools.controller.lease import LeaderLease
from pools.models import Agent, ConfigVersion, Pool
from pools.runtime.intake import RQ_FAILURE_TTL
from pools.runtime.watch import Silent


class Reaper:
    """Takes its turn among the agents: one lease on the broker says who looks, so it alone when there is none."""

    name = "reaper"
    interval = 1.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._listener: Listener | None = None
        self._signature = {"agent": "controller", "host": socket.gethostname()}

    def tick(self) -> bool:
        # A broker on which no agent was ever heard is only looked at, and gets no lease of ours.
        if not Agent.objects.filter(broker=self._alias).exists():
            return False
        self._listener = self._listener or Listener(get_broker(self._alias), self._lease.holder)
        for silent in self._listener.look():
            pool = self._pool(silent)
            decided = self._listener.decide(silent, _failure_ttl(pool), self._signature)
            if decided:
                self._tell(silent, pool, next(iter(decided)))
        return False

    def _pool(self, silent: Silent) -> Pool | None:
        """None when the heartbeat, which anybody may have written, names none of ours."""
        pools = Pool.objects.filter(broker=self._alias)
        return next((pool for pool in pools if str(pool.uid) == silent.pool_uid), None)

    def _tell(self, silent: Silent, pool: Pool | None, job_id: str) -> None:
        said = {"worker": silent.worker, "pool_uid": silent.pool_uid, "exit": "its host fell silent", "job_id": job_id}
        body = WorkerLost.model_validate(self._signature | said)
        with self._lease.fenced():
            record(
                actor=system_actor("controller"),
                action="worker.lost",
                target=body.target(pool),
                detail=body.detail() | {"agent": silent.agent},
            )


def _failure_ttl(pool: Pool | None) -> int:
    """Seconds that a dead letter of the pool is kept; RQ's own year for a pool that nobody knows."""
    version = ConfigVersion.objects.filter(pool=pool, number=pool.published_number).first() if pool else None
    return int(json.loads(bytes(version.spec))["failure_ttl"]) if version else RQ_FAILURE_TTL
