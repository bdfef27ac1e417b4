"""What the API gives. Field names are part of the public surface."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from pools.models import (
    Agent,
    AgentPool,
    ConfigVersion,
    CronSlot,
    Effect,
    Pool,
    QueueState,
    Worker,
)
from pools.selectors.config import spec_of
from pools.selectors.gates import BreakerLine, LimitLine

ENDS = (Effect.SUCCEEDED, Effect.FAILED_AGAIN, Effect.UNKNOWN)


class Figures(Schema):
    """Of the newest sample."""

    waiting: int
    oldest_enqueued_at: datetime | None
    workers: int
    busy: int
    wanted: int
    done_per_minute: int
    failed_last_hour: int
    dead_letters: int
    sampled_at: datetime


class PoolOut(Schema):
    slug: str
    uid: UUID
    name: str
    kind: str
    environment: str
    team: str
    broker: str
    description: str
    runbook_url: str
    criticality: str
    approval_limit: int | None = Field(description="as it was set; null: as the criticality has it")
    approved_above: int | None = Field(
        description="the number of dead letters above which an operation needs an approval; null: none does"
    )
    poison_after: int = Field(description="requeues after which a job that comes back is quarantined; 0: never")
    searchable_arguments: list[str] = Field(description="paths by which dead letters are found: `args` of their filter")
    queues: list[str]
    run_state: str
    generation: int
    revision: int = Field(description="grows with each change: `expected_version` of `change_pool`")
    config_version: int
    published_version: int
    figures: Figures | None

    @staticmethod
    def resolve_team(pool: Pool) -> str:
        return pool.team.slug

    @staticmethod
    def resolve_config_version(pool: Pool) -> int:
        return pool.config_number

    @staticmethod
    def resolve_published_version(pool: Pool) -> int:
        return pool.published_number

    @staticmethod
    def resolve_figures(pool: Pool) -> Any:
        return getattr(pool, "now", None)


class BreakerOut(Schema):
    name: str
    tasks: list[str]
    state: str = Field(description="`closed`, `open`, `half_open`, or `held`: opened by a person")
    since: datetime | None = Field(description="null: it never was anything but closed")
    failures: int = Field(description="that count now, towards those that open it")
    passed: int = Field(description="probes that succeeded since it is half-open")
    probing: int = Field(description="probes that run")
    probes_in: int | None = Field(description="seconds until an open one lets a probe through; null in other states")

    @staticmethod
    def resolve_name(line: BreakerLine) -> str:
        return line.rule.name

    @staticmethod
    def resolve_tasks(line: BreakerLine) -> list[str]:
        return list(line.rule.tasks)


class LimitOut(Schema):
    name: str
    tasks: list[str]
    per_second: int
    burst: int
    concurrency: int
    running: int = Field(description="jobs that hold a place, over all values that the limit counts by")
    used: int = Field(description="of the burst")

    @staticmethod
    def resolve_name(line: LimitLine) -> str:
        return line.rule.name

    @staticmethod
    def resolve_tasks(line: LimitLine) -> list[str]:
        return list(line.rule.tasks)

    @staticmethod
    def resolve_per_second(line: LimitLine) -> int:
        return line.rule.per_second

    @staticmethod
    def resolve_burst(line: LimitLine) -> int:
        return line.rule.burst

    @staticmethod
    def resolve_concurrency(line: LimitLine) -> int:
        return line.rule.concurrency


class UnknownVersionOut(Schema):
    task: str
    version: str
    jobs: int = Field(description="of those that claims look at: at most 100 in each queue")
    since: datetime


class GatesOut(Schema):
    """As of the newest sample, of the breakers and limits of the config that runs."""

    breakers: list[BreakerOut]
    limits: list[LimitOut]
    unknown: list[UnknownVersionOut] = Field(
        description="jobs that wait for a worker that knows their payload's version"
    )


class RunOut(Schema):
    command_id: UUID
    generation: int
    state: str
    issued_at: datetime
    deadline: datetime
    acknowledged_at: datetime | None


class ConfigOut(Schema):
    pool: str
    version: int
    state: str
    message: str
    author: str
    created_at: datetime
    signed_at: datetime | None
    expires: datetime | None
    payload_sha256: str
    restored_from: int | None
    change_id: UUID

    @staticmethod
    def resolve_pool(row: ConfigVersion) -> str:
        return row.pool.slug

    @staticmethod
    def resolve_version(row: ConfigVersion) -> int:
        return row.number

    @staticmethod
    def resolve_author(row: ConfigVersion) -> str:
        return row.author_name


class ConfigDetail(ConfigOut):
    spec: dict[str, Any]
    envelope: str | None = Field(description="the DSSE envelope as published, null until signed")

    @staticmethod
    def resolve_spec(row: ConfigVersion) -> dict[str, Any]:
        return spec_of(row).model_dump(mode="json")

    @staticmethod
    def resolve_envelope(row: ConfigVersion) -> str | None:
        return bytes(row.envelope).decode() if row.envelope else None


class QueueOut(Schema):
    name: str
    pool: str
    broker: str
    depth: int
    oldest_enqueued_at: datetime | None
    started: int
    failed: int
    deferred: int
    scheduled: int

    @staticmethod
    def resolve_pool(row: QueueState) -> str:
        return row.pool.slug


class CronSlotOut(Schema):
    """`outcome`: `enqueued`, `skipped` or `missed`. `end` of its job: empty (waits), `running`, `succeeded`, `failed`,
    `unknown`."""

    pool: str
    name: str
    slot_at: datetime
    outcome: str
    end: str
    job_id: str
    queue: str
    agent: str
    config_version: int | None
    reported_at: datetime

    @staticmethod
    def resolve_pool(row: CronSlot) -> str:
        return row.pool.slug

    @staticmethod
    def resolve_config_version(row: CronSlot) -> int | None:
        return row.config_number


class WorkerOut(Schema):
    name: str
    pool: str
    broker: str
    agent: str | None
    host: str
    pid: int | None
    queues: list[str]
    state: str
    current_job_id: str
    current_func: str
    current_since: datetime | None
    config_version: int | None
    last_seen: datetime
    gone_at: datetime | None
    rq_version: str
    python_version: str

    @staticmethod
    def resolve_pool(row: Worker) -> str:
        return row.pool.slug

    @staticmethod
    def resolve_agent(row: Worker) -> str | None:
        return row.agent.name if row.agent else None

    @staticmethod
    def resolve_config_version(row: Worker) -> int | None:
        return row.config_number


class AgentPoolOut(Schema):
    pool: str
    told: int | None
    verified: int | None
    running: int | None
    generation: int
    run_state: str
    refused_version: int | None
    refused_code: str
    refused_detail: str
    boot_failure: str

    @staticmethod
    def resolve_pool(row: AgentPool) -> str:
        return row.pool.slug


class AgentOut(Schema):
    name: str
    broker: str
    host: str
    labels: dict[str, str]
    version: str
    python_version: str
    rq_version: str
    root_sha256: str
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime | None
    pools: list[AgentPoolOut]

    @staticmethod
    def resolve_pools(row: Agent) -> list[AgentPool]:
        return list(row.seen_pools)  # type: ignore[attr-defined]
