"""The names of RQ 3.0's keys under any prefix.

RQ reads its prefix once, at import, from the environment: a process that serves several brokers must build the
names itself. ``tests/broker/test_rq_keys.py`` holds each of them against RQ's own constants.
"""

import re
from dataclasses import dataclass

PREFIX = re.compile(r"[A-Za-z0-9_.:{}-]+")


@dataclass(frozen=True)
class RqKeys:
    """RQ's keys under ``prefix``. Raises ValueError for a prefix that RQ would refuse."""

    prefix: str = "rq"

    def __post_init__(self) -> None:
        if not PREFIX.fullmatch(self.prefix):
            raise ValueError(f"RQ refuses the key prefix {self.prefix!r}: letters, digits and _ . : - {{ }} only")

    @property
    def queues(self) -> str:
        """SET of queue keys (not names)."""
        return f"{self.prefix}:queues"

    @property
    def workers(self) -> str:
        """SET of worker keys (not names)."""
        return f"{self.prefix}:workers"

    @property
    def groups(self) -> str:
        return f"{self.prefix}:groups"

    @property
    def rate_limits(self) -> str:
        """SET of rate limit names."""
        return f"{self.prefix}:rl-keys"

    def queue(self, name: str) -> str:
        """LIST of job ids; the next one to run is on the left."""
        return f"{self.prefix}:queue:{name}"

    def intermediate(self, name: str) -> str:
        """LIST of job ids between the queue and their start."""
        return f"{self.prefix}:queue:{name}:intermediate"

    def started(self, name: str) -> str:
        """ZSET of ``job id:execution id``, scored by the end of their lease."""
        return f"{self.prefix}:wip:{name}"

    def finished(self, name: str) -> str:
        return f"{self.prefix}:finished:{name}"

    def failed(self, name: str) -> str:
        """ZSET of job ids, scored by expiry; -1 never expires."""
        return f"{self.prefix}:failed:{name}"

    def deferred(self, name: str) -> str:
        return f"{self.prefix}:deferred:{name}"

    def scheduled(self, name: str) -> str:
        return f"{self.prefix}:scheduled:{name}"

    def canceled(self, name: str) -> str:
        return f"{self.prefix}:canceled:{name}"

    def ready(self, name: str) -> str:
        """ZSET of jobs whose dependencies are met and that are about to be queued."""
        return f"{self.prefix}:ready:{name}"

    def job(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}"

    def dependents(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}:dependents"

    def dependencies(self, job_id: str) -> str:
        """The double colon is RQ's."""
        return f"{self.prefix}:job::{job_id}:dependencies"

    def results(self, job_id: str) -> str:
        """STREAM of at most about ten results, the newest last."""
        return f"{self.prefix}:results:{job_id}"

    def executions(self, job_id: str) -> str:
        """ZSET of execution ids."""
        return f"{self.prefix}:executions:{job_id}"

    def execution(self, composite: str) -> str:
        """HASH; ``composite`` is ``job id:execution id``."""
        return f"{self.prefix}:execution:{composite}"

    def worker(self, name: str) -> str:
        return f"{self.prefix}:worker:{name}"

    def worker_executions(self, name: str) -> str:
        """SET of ``job id:execution id``."""
        return f"{self.prefix}:worker:{name}:executions"

    def queue_workers(self, queue: str) -> str:
        return f"{self.prefix}:workers:{queue}"

    def commands(self, worker: str) -> str:
        """The pubsub channel that a running worker listens on."""
        return f"{self.prefix}:pubsub:{worker}"

    def group(self, group_id: str) -> str:
        return f"{self.prefix}:group:{group_id}"

    def rate_limit(self, name: str) -> str:
        return f"{self.prefix}:rl:{name}"
