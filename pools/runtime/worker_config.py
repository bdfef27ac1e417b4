"""What an agent tells the process it starts: one JSON document on standard input.

Not on the command line nor in the environment, which any process of the same user can read.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pools.runtime.delivery import DeliveryRule
from pools.runtime.refusals import Admission
from pools.runtime.retry import RetryRule
from pools.runtime.retry_budget import RetryBudget
from pools.runtime.rules import Rules
from pools.runtime.sandbox.limits import Isolation


@dataclass(frozen=True)
class Lost:
    """A worker that ended without saying so, and what its running job's failure will say."""

    worker: str
    why: str


@dataclass(frozen=True)
class SecretAccess:
    """Which secrets the pool's jobs may read, and where. Not shown by repr: ``environment`` holds values."""

    references: dict[str, str] = field(repr=False)
    prefixes: list[str] = field(repr=False)
    environment: dict[str, str] = field(repr=False)

    def allows(self, reference: str) -> bool:
        """Whether a reference is written under an allowed prefix. For files, where they really are decides, too."""
        return any(reference.startswith(prefix) for prefix in self.prefixes)


@dataclass(frozen=True)
class WorkerConfig:
    """``purpose``: ``work`` (a worker) or ``upkeep`` (one round of repair for ``lost`` workers and registries).

    ``agent_pid``: the process that starts this one. ``job_user``: whose jobs are under isolation; empty: the agent's.
    """

    purpose: str
    redis_url: str = field(repr=False)
    worker: str
    agent: str
    agent_pid: int
    host: str
    pool_uid: str
    pool: str
    config: int
    channel: str
    bell: str
    preload: list[str]
    queues: list[str]
    job_timeout: int
    result_ttl: int
    failure_ttl: int
    serializer: str
    horse_jobs: int
    admission: Admission
    retry: list[RetryRule]
    policies: list[DeliveryRule]
    isolation: Isolation
    job_user: str
    rules: Rules
    retry_budget: RetryBudget
    secrets: SecretAccess
    lost: list[Lost]
    tidy: bool

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> "WorkerConfig":
        """Raises ValueError or KeyError on anything that ``dumps`` did not write."""
        data: dict[str, Any] = json.loads(text)
        return cls(
            **data
            | {
                "admission": Admission(**data["admission"]),
                "retry": [RetryRule.read(rule) for rule in data["retry"]],
                "policies": [DeliveryRule(**rule) for rule in data["policies"]],
                "isolation": Isolation(**data["isolation"]),
                "rules": Rules.read(data["rules"]),
                "retry_budget": RetryBudget(**data["retry_budget"]),
                "secrets": SecretAccess(**data["secrets"]),
                "lost": [Lost(**lost) for lost in data["lost"]],
            }
        )
