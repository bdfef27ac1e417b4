"""What the API gives. Field names are part of the public surface."""

from datetime import datetime
from typing import Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from pools.api.approval_schemas import ApprovalOut, approval_out
from pools.broker.payload_reveal import Payload
from pools.models import (
    Agent,
    AgentPool,
    ConfigVersion,
    DeadLetter,
    Effect,
    Operation,
    Pool,
    QueueState,
    Worker,
)
from pools.selectors.config import spec_of
from pools.selectors.progress import Progress, effect_of, stage_of

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


class DeadLetterOut(Schema):
    id: int
    job_id: str
    pool: str
    queue: str
    broker: str
    state: str
    task: str
    arguments: str = Field(description="their names and number, every value masked; empty when unknown")
    error: str
    message: str
    group: int
    failed_at: datetime
    created_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    expires_at: datetime | None
    worker: str
    host: str
    config_version: int | None
    attempts: int
    came_back: int = Field(description="requeues after which it failed again for the same cause")
    shelved_until: datetime | None = Field(
        description="until when a discarded or archived job can be restored; null: not at all, or quarantined"
    )

    @staticmethod
    def resolve_pool(row: DeadLetter) -> str:
        return row.pool.slug

    @staticmethod
    def resolve_task(row: DeadLetter) -> str:
        return row.func

    @staticmethod
    def resolve_error(row: DeadLetter) -> str:
        return row.exc_type

    @staticmethod
    def resolve_group(row: DeadLetter) -> int:
        return row.group_id

    @staticmethod
    def resolve_config_version(row: DeadLetter) -> int | None:
        return row.config_number


class CanaryOut(Schema):
    count: int
    min_success: int
    timeout: int
    over_at: datetime | None = Field(description="when it passed, or a person let the rest follow all the same")
    effect: dict[str, int] = Field(description="its jobs by effect, when it was decided")


class OperationOut(Schema):
    id: int
    kind: str
    state: str
    stage: str = Field(description="frozen, canary, sending, following or ended")
    reason: str
    pools: list[str] = Field(description="that it touches; of a move, the one it goes to as well")
    to_queue: str = Field(description="of a move; else empty")
    source: str = Field(description="where its dead letters lay: open, discarded, quarantined or archived")
    frozen_count: int
    ids_sha256: str = Field(description="SHA-256 of the frozen job ids, sorted, one a line")
    created_by: str
    created_at: datetime
    ended_at: datetime | None
    canary: CanaryOut | None
    rate_per_second: int | None
    stop_same_failure: int | None
    same_failures: int = Field(description="requeued jobs that failed again for the same cause")
    stopped_because: str
    recalling: bool = Field(description="what is still queued is on its way back")
    again_of: int | None = Field(description="the operation whose failures this one does again")
    approval: ApprovalOut | None = Field(description="of one that was larger than a pool lets one person decide about")
    outcomes: dict[str, int] = Field(description="frozen jobs by outcome; outcomes that do not occur are left out")

    effect: dict[str, int] | None = Field(
        description="requeued jobs by what their next run came to: succeeded, failed_again, unknown, open; null unless "
        "something was requeued"
    )
    effect_at: datetime | None = Field(description="when none of them was open any more")


class OperationItemOut(Schema):
    position: int
    job_id: str
    queue: str
    outcome: str
    at: datetime | None
    effect: str = Field(description="of a requeued job: running, succeeded, failed_again, unknown; else empty")
    same_failure: bool | None = Field(description="of one that failed again: for the same cause; null: not known")


class ValueOut(Schema):
    path: str = Field(description="where it stands, such as kwargs.order.0")
    type: str
    text: str = Field(description="what cannot be seen is spelt out: ⟨U+202E⟩")


class ImportOut(Schema):
    name: str
    plain: bool = Field(description="false: code, which a worker runs when it loads the payload")


class PayloadOut(Schema):
    """Read and never loaded."""

    problem: str = Field(description="why there is nothing to show, else empty")
    serializer: str = Field(description="json, pickle or unknown")
    sha256: str = Field(description="of the stored bytes; what `edit_payload` asks for")
    size: int = Field(description="bytes as stored")
    task: str
    values: list[ValueOut] = Field(description="texts, numbers and other single values in their order")
    imports: list[ImportOut] = Field(description="of a pickle: what loading it would import")
    opcodes: int | None = Field(description="of a pickle: how many were read")
    text: str = Field(description="of a JSON payload: the payload itself")
    head: str = Field(description="of an unknown payload: its first bytes in hex")
    notes: list[str] = Field(description="what is cut or damaged")

    @classmethod
    def of(cls, payload: Payload) -> "PayloadOut":
        return cls(
            problem=payload.problem,
            serializer=payload.serializer,
            sha256=payload.sha256,
            size=payload.size,
            task=payload.task,
            values=[
                ValueOut(path=line.path, type=line.type, text=line.text)
                for line in payload.lines
                if line.step == "leaf"
            ],
            imports=[ImportOut(name=one.name, plain=one.plain) for one in payload.imports],
            opcodes=payload.opcodes,
            text=payload.text,
            head=payload.head,
            notes=payload.notes,
        )


class RevealOut(Schema):
    job_id: str
    broker: str
    open_until: datetime = Field(description="until then the job's page shows it to you as well")
    payload: PayloadOut | None = Field(description="null when the request is sent again")


def _canary_out(row: Operation) -> CanaryOut | None:
    if row.canary_count is None or row.canary_min_success is None or row.canary_timeout is None:
        return None
    return CanaryOut(
        count=row.canary_count,
        min_success=row.canary_min_success,
        timeout=row.canary_timeout,
        over_at=row.canary_over_at,
        effect=row.canary_effects,
    )


def operation_out(row: Operation, progress: Progress) -> OperationOut:
    effect = effect_of(row, progress)
    return OperationOut(
        id=row.pk,
        kind=row.kind,
        state=row.state,
        stage=stage_of(row, progress),
        reason=row.reason,
        pools=sorted(pool.slug for pool in row.pools.all()),
        to_queue=row.to_queue,
        source=row.source,
        frozen_count=row.frozen_count,
        ids_sha256=row.ids_sha256,
        created_by=row.actor_name,
        created_at=row.created_at,
        ended_at=row.ended_at,
        canary=_canary_out(row),
        rate_per_second=row.rate_per_second,
        stop_same_failure=row.stop_same_failure,
        same_failures=row.same_failures,
        stopped_because=row.stopped_because,
        recalling=bool(row.recall),
        again_of=row.again_of_id,
        approval=approval_out(row),
        outcomes={outcome: count for outcome, count in sorted(progress.counts.items()) if count},
        effect={str(name): effect.counts.get(name, 0) for name in ENDS} | {"open": effect.open} if effect else None,
        effect_at=effect.at if effect else None,
    )
