"""What workers and agents report, by event type. Bodies come from a shared broker: checked, and cut to what fits."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from audit.actor import Actor, agent_actor
from audit.target import Target
from pools.controller.untrusted import Number, cut, name
from pools.models import Pool

Text = Annotated[str, cut(500)]
Version = Annotated[str, cut(50)]
Long = Annotated[str, cut(4000)]


class Body(BaseModel):
    """What every event says of itself."""

    agent: Text
    host: Text = ""

    @property
    def actor(self) -> Actor:
        return agent_actor(self.agent)


class JobFailed(Body):
    job_id: Annotated[str, name(500)]
    queue: Annotated[str, name(255)]
    worker: Text = ""
    config: Number | None = None
    rq: Version = ""
    python: Version = ""


class Reported(Body):
    """An event that goes into the audit log."""

    pool_uid: Text

    def target(self, pool: Pool | None) -> Target:
        """What it is about; ``pool`` is None when nobody knows its uid."""
        slug = pool.slug if pool else ""
        return Target(kind="pool", id=self.pool_uid, name=slug or self.pool_uid, pool=slug)

    def detail(self) -> dict[str, Any]:
        return self.model_dump(exclude={"agent", "pool_uid"}, exclude_defaults=True)


class SecretRead(Reported):
    name: Text
    job_id: Text
    worker: Text = ""
    config: Number | None = None

    def target(self, pool: Pool | None) -> Target:
        return Target(kind="secret", id=self.name, name=self.name, pool=pool.slug if pool else "")


class SecretRefused(SecretRead):
    why: Text


class ConfigRefused(Reported):
    version: Number | None = None
    code: Text
    # Under another name, as ``detail`` is the method above.
    why: Long = Field("", validation_alias="detail")


class WorkerEvent(Reported):
    worker: Text

    def target(self, pool: Pool | None) -> Target:
        return Target(kind="worker", id=self.worker, name=self.worker, pool=pool.slug if pool else "")


class WorkerLost(WorkerEvent):
    pid: int | None = None
    exit: Text
    job_id: Text | None = None


class WorkerBootFailed(WorkerEvent):
    config: Number | None = None
    exit_code: int
    message: Long = ""


class JobFenced(Reported):
    job_id: Text
    execution: Text = ""
    end: Text
    worker: Text = ""
    config: Number | None = None

    def target(self, pool: Pool | None) -> Target:
        return Target(kind="job", id=self.job_id, name=self.job_id, pool=pool.slug if pool else "")


REPORTS: dict[str, type[Reported]] = {
    "job.fenced": JobFenced,
    "secret.resolved": SecretRead,
    "secret.refused": SecretRefused,
    "config.refused": ConfigRefused,
    "worker.lost": WorkerLost,
    "worker.boot_failed": WorkerBootFailed,
}
"""Event type, which is also the audit action → its body."""
