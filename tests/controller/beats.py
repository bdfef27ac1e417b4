"""Heartbeats written as an agent writes them."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import redis

from pools.models import Pool


@dataclass
class FakeAgent:
    """An agent's voice; each ``beat`` has the next sequence number."""

    client: redis.Redis
    name: str = "pay-01"
    boot: str = "boot-1"
    seq: int = 0
    pools: list[dict[str, Any]] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, pool: Pool, **more: Any) -> None:
        said = {"pool_uid": str(pool.uid), "pool": pool.slug, "told": 1, "verified": 1, "running": 1}
        self.pools.append(
            said | {"generation": 0, "run_state": "running", "refused": None, "boot_failure": None} | more
        )

    def supervise(self, pool: Pool, name: str, **more: Any) -> None:
        said = {"name": name, "pool_uid": str(pool.uid), "pid": 4711, "config": 1, "state": "running"}
        self.workers.append(said | {"started_at": time.time(), "restarts": 0} | more)

    def beat(self, **more: Any) -> None:
        self.seq += 1
        body = {"v": 1, "agent": self.name, "host": "host-1", "pid": 7, "boot": self.boot, "seq": self.seq}
        body |= {"at": time.time(), "version": "0.1.0", "python": "3.13.2", "rq": "3.0.0", "labels": {"zone": "a"}}
        body |= {"root": "ab" * 32, "pools": self.pools, "workers": self.workers}
        self.client.hset("pw:agents", self.name, json.dumps(body | more))
