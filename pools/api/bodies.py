"""What the API takes. JSON types are taken at their word, and a field that is not known is refused: a filter with a
misspelt field must never mean "everything"."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from audit.recorder import REASON_LIMIT
from pools.arguments import PATHS_EACH
from pools.models import Criticality, DeadLetterState
from pools.operations.plan import MAX_CANARY, MAX_RATE, TIMEOUT, TIMEOUTS
from pools.operations.selection import MAX_IDS

EXAMPLE_SPEC: dict[str, Any] = {"queues": ["payments.high", "payments"], "workers": 4, "serializer": "json"}


def _storable(text: str) -> str:
    """JSON can spell a NUL and half a surrogate pair, which no database stores as text."""
    if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("must not hold a NUL character or half a surrogate pair")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Reason = Annotated[Text, Field(max_length=REASON_LIMIT, description="why; it goes into the audit log")]
Seen = Annotated[int | None, Field(ge=0)]
Rate = Annotated[int | None, Field(ge=1, le=MAX_RATE, description="jobs a second, at most; null: as fast as it goes")]

Limit = Annotated[
    int | None,
    Field(
        ge=0,
        lt=2**31,
        description="an operation on more dead letters needs an approval; null: as the criticality has it. Allowing "
        "more than before takes `approve_operations`",
    ),
]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PoolIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"slug": "payments", "environment": "demo", "team": "demo", "spec": EXAMPLE_SPEC}],
        }
    )

    slug: Text = Field(max_length=60, description="letters, digits, - and _; unique, and never changes")
    environment: Text = Field(max_length=50, description="the console's own environment; a guard against mix-ups")
    team: Text = Field(max_length=50, description="slug of a team of yours")
    spec: dict[str, Any] = Field(description="the pool spec")
    name: Text = Field("", max_length=100, description="for people; the slug if empty")
    description: Text = Field("", max_length=2000)
    runbook_url: Text = Field("", max_length=500)
    criticality: str = Field(Criticality.STANDARD.value, json_schema_extra={"enum": list(Criticality.values)})
    approval_limit: Limit = None
    message: Reason = Field("", description="why; it goes with the first config version")


class PoolChangeIn(Body):
    """Fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"criticality": "critical", "approval_limit": 500}]})

    name: Text = Field("", max_length=100)
    description: Text = Field("", max_length=2000)
    runbook_url: Text = Field("", max_length=500)
    criticality: str = Field("", json_schema_extra={"enum": list(Criticality.values)})
    approval_limit: Limit = None
    poison_after: int = Field(
        0, ge=0, le=100, description="requeues after which a job that comes back is quarantined; 0: never"
    )
    searchable_arguments: list[Text] = Field(
        [], description=f"paths by which dead letters are found, at most {PATHS_EACH}: `user.id`, `0.order`"
    )
    expected_version: Seen = Field(None, description="the pool's revision that you saw; 409 if it has changed")


class ReasonIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The card gateway is down"}]})

    reason: Reason
    expected_version: Seen = Field(None, description="the pool's generation that you saw; 409 if it has changed")


class ScaleIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"workers": 8, "reason": "Month-end peak"}]})

    workers: int = Field(description="workers per agent, 0 to 512")
    reason: Reason
    expected_version: Seen = Field(None, description="the newest config version that you saw; 409 if there is another")


class ConfigIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"spec": EXAMPLE_SPEC, "message": "Serve the high queue first", "expected_version": 3}],
        }
    )

    spec: dict[str, Any] = Field(description="the pool spec, whole")
    message: Reason
    expected_version: int = Field(
        ge=0, description="the newest version that you saw, 0 for none; 409 if it has changed"
    )


class FilterFields(BaseModel):
    """Fields that are empty do not restrict; the others all apply. But for `q` and the times, a field takes several
    values with commas between, those to leave out with `-` before; what has a comma or a blank in it, in quotes."""

    pool: Text = Field("", description="a pool's slug, as `payments,reports`, or `-payments` for all others")
    queue: Text = ""
    task: Text = Field("", description="a function's dotted name")
    error: Text = Field("", description="an exception's name, with or without its module; `none`")
    host: Text = Field("", description="of the worker; `none`")
    version: Text = Field("", description="the config version of the worker, as `v41`; `none` for stock workers")
    group: Text = Field("", description="the id of a failure group")
    group_state: Text = Field("", description="of the group: new, acknowledged, snoozed, resolved or regressed")
    owner: Text = Field("", description="of the group: a username, `me` or `none`")
    q: Text = Field("", description="part of the message, or a job id")
    since: Text = Field("", description="failed then or later: RFC 3339, or so long ago: 15m, 24h, 7d")
    until: Text = Field("", description="failed before then")
    args: Text = Field(
        "",
        description="what a job was called with, under paths that its pool lets be searched, as `user.id=42`; only in "
        "pools where you may reveal payloads",
    )
    expires: Text = Field("", description="vanishes by its failure TTL within or later than that: `<24h`, `>7d`")
    restorable: Text = Field(
        "", description="`yes`: only what lies in trash, quarantine or archive and can be restored"
    )


class FilterIn(FilterFields, Body):
    state: Text = Field(
        DeadLetterState.OPEN.value,
        description="where they lie: open; to be discarded also quarantined or archived; to be restored discarded, "
        "quarantined or archived",
    )


class CanaryIn(Body):
    """The oldest `count` jobs go first; the rest follows when `min_success` percent of them succeed."""

    count: int = Field(ge=1, le=MAX_CANARY, description="jobs")
    min_success: int = Field(ge=1, le=100, description="percent")
    timeout: int = Field(TIMEOUT, ge=TIMEOUTS[0], le=TIMEOUTS[1], description="seconds after which it has failed")


class OperationIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "requeue",
                    "filter": {"pool": "payments", "error": "TimeoutError", "since": "2h"},
                    "reason": "The card gateway is back",
                    "expected_count": 42,
                    "canary": {"count": 20, "min_success": 95},
                    "rate_per_second": 5,
                    "stop_same_failure": 5,
                },
                {
                    "kind": "move",
                    "to_queue": "payments.slow",
                    "ids": ["5f0c2f5e-7f6c-4f7f-9d36-1f7d0c9a6a51"],
                    "reason": "The worker there has more memory",
                },
                {"kind": "discard", "ids": ["5f0c2f5e-7f6c-4f7f-9d36-1f7d0c9a6a51"], "reason": "Test payments"},
                {"kind": "restore", "filter": {"state": "discarded", "since": "2h"}, "reason": "Discarded too much"},
            ]
        }
    )

    kind: Literal["requeue", "discard", "move", "quarantine", "archive", "restore"]
    to_queue: Text = Field("", max_length=255, description="of a move: a queue of a pool on the same broker")
    reason: Reason
    ids: list[Annotated[Text, Field(max_length=500)]] = Field(
        [], max_length=MAX_IDS, description="job ids; or give a filter"
    )
    filter: FilterIn | None = Field(
        None,
        description="by the parameters of `list_dead_letters`; or give ids",
    )
    expected_count: Seen = Field(None, description="how many you expect it to touch; 409 if it would be another number")
    start: bool = Field(True, description="false: only freeze the set, and start it later")
    canary: CanaryIn | None = Field(None, description="of a requeue: what goes first and decides if the rest follows")
    rate_per_second: Rate = None
    stop_same_failure: int | None = Field(
        None,
        ge=1,
        le=99,
        description="of a requeue: stop when more than so many percent of those that ended failed again for the same "
        "cause, and more than one did",
    )
    orphans_stay: bool = Field(
        False,
        description="of a requeue: skip jobs when one that they depend on is gone; RQ takes that as met, and so does "
        "the default",
    )


class RevealIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Which order does it fail for?"}]})

    reason: Reason
    broker: Text = Field("default", max_length=50, description="the alias of the job's broker")


class EditIn(Body):
    """Both are given whole, and the function stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"args": [], "kwargs": {"order": 7}, "seen": "9f" * 32, "reason": "The order was renumbered"}]
        }
    )

    args: list[Any] = Field(description="the positional arguments")
    kwargs: dict[str, Any] = Field(description="the arguments by name")
    seen: Text = Field(max_length=64, description="`sha256` of the payload that you revealed; 409 if it has changed")
    reason: Reason
    broker: Text = Field("default", max_length=50, description="the alias of the job's broker")


class MoveIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "The gateway fails again"}]})

    reason: Reason = ""


class RateIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"rate_per_second": 50, "reason": "The gateway holds"}]})

    rate_per_second: Rate
    reason: Reason = ""


class WhyIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "It was the wrong group"}]})

    reason: Reason
