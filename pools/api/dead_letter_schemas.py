"""What the API answers about dead letters, their payloads and operations on them."""

from datetime import datetime

from ninja import Schema
from pydantic import Field

from pools.api.approval_schemas import ApprovalOut, approval_out
from pools.broker.payload_reveal import Payload
from pools.models import (
    DeadLetter,
    Effect,
    Operation,
)
from pools.selectors.dead_letters import traceback_of
from pools.selectors.progress import Progress, effect_of, stage_of

ENDS = (Effect.SUCCEEDED, Effect.FAILED_AGAIN, Effect.UNKNOWN)


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


class DeadLetterDetail(DeadLetterOut):
    rq_version: str = Field(description="of the worker that it failed in; empty when unknown, as the next one")
    python_version: str
    damaged: str = Field(description="what of its record could not be read; else empty")
    traceback: str = Field(description="of the last failure, cut to what is kept; empty when none was")

    @staticmethod
    def resolve_traceback(row: DeadLetter) -> str:
        return traceback_of(row)


class TallyOut(Schema):
    """How many share a value, the most frequent first."""

    rows: list[tuple[str, int]] = Field(description="values, each with its number")
    others: int = Field(description="of the values that are left out")


class ForeseenOut(Schema):
    """What the broker says of the oldest of them."""

    looked: int = Field(description="so many were looked at: the oldest, at most 1,000")
    requeued: int = Field(description="of those, can be requeued")
    skipped: dict[str, int] = Field(description="of those, would be skipped, by outcome")
    orphans: int = Field(description="can be requeued, but depend on a job that is gone; see `orphans_stay`")
    problem: str = Field(description="why the broker could not be asked; else empty")


class PreviewOut(Schema):
    """What a requeue of all that match would freeze."""

    at: datetime
    count: int
    errors: TallyOut
    tasks: TallyOut
    pools: TallyOut
    ages: list[tuple[str, int]] = Field(description="how long ago they failed, each once")
    poison: int = Field(description="are skipped: they came back from as many requeues as their pool allows")
    damaged: int
    expired: int
    paused: list[str] = Field(description="pools that take no jobs now")
    breakers: list[str] = Field(description="open ones that would keep some of them waiting")
    warnings: list[str] = Field(description="as the console says it before the click")
    foreseen: ForeseenOut


class AgeOut(Schema):
    """Failed after `since` and before `until`, as the filter takes them; empty: no bound."""

    since: str
    until: str


class MatrixRow(Schema):
    error: str
    counts: list[int] = Field(description="one for each of `ages`")


class MatrixOut(Schema):
    ages: list[AgeOut]
    rows: list[MatrixRow] = Field(description="the most frequent exceptions, then all others, then their sums")


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
    orphans_stay: bool = Field(description="jobs are skipped when one that they depend on is gone")
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
        orphans_stay=row.orphans_stay,
        same_failures=row.same_failures,
        stopped_because=row.stopped_because,
        recalling=bool(row.recall),
        again_of=row.again_of_id,
        approval=approval_out(row),
        outcomes={outcome: count for outcome, count in sorted(progress.counts.items()) if count},
        effect={str(name): effect.counts.get(name, 0) for name in ENDS} | {"open": effect.open} if effect else None,
        effect_at=effect.at if effect else None,
    )
