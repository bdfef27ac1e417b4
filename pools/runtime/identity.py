"""Who a worker is, as its events say it."""

import platform
from dataclasses import dataclass
from typing import Any

from rq.version import VERSION

from pools.runtime.worker_config import WorkerConfig


@dataclass
class Identity:
    """``config`` is the version that the worker stands for; it moves when a new version changes nothing for it."""

    agent: str
    host: str
    pool_uid: str
    pool: str
    worker: str
    config: int

    @classmethod
    def of(cls, config: WorkerConfig) -> "Identity":
        return cls(config.agent, config.host, config.pool_uid, config.pool, config.worker, config.config)

    @property
    def signature(self) -> dict[str, object]:
        return {"agent": self.agent, "host": self.host}

    def failure(self, job_id: str, queue: str) -> dict[str, Any]:
        """Body of a job.failed event: what is not in rq's own keys."""
        return self._base() | {
            "job_id": job_id,
            "queue": queue,
            "python": platform.python_version(),
            "rq": VERSION,
        }

    def fenced(self, job_id: str, execution: str, end: str) -> dict[str, Any]:
        """Body of a job.fenced event: a start or an end that did not count, as the job was another's by then."""
        return self._base() | {"job_id": job_id, "execution": execution, "end": end}

    def secret(self, name: str, job_id: str) -> dict[str, Any]:
        """Body of a secret.* event: never the value, never where it is kept."""
        return self._base() | {"name": name, "pool": self.pool, "job_id": job_id}

    def _base(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "host": self.host,
            "worker": self.worker,
            "pool_uid": self.pool_uid,
            "config": self.config,
        }
