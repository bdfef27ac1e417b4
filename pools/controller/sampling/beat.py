"""A heartbeat's shape. It is unsigned and comes from a shared broker: everything is checked and cut to its column."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, Field, ValidationError

from pools.controller.untrusted import LARGEST, Number, cut, name

log = structlog.get_logger(__name__)


Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]


class Refusal(BaseModel):
    """Why an agent did not take a config."""

    version: Number | None = None
    code: Annotated[str, cut(50)]
    detail: Annotated[str, cut(1000)] = ""
    at: Seconds


class BootFailure(BaseModel):
    """Why an agent gave up starting workers."""

    at: Seconds
    exit_code: int | None = None
    message: Annotated[str, cut(10_000)] = ""


class PoolBeat(BaseModel):
    """What an agent says of one pool it serves."""

    pool_uid: Annotated[str, cut(64)]
    told: Number | None = None
    verified: Number | None = None
    running: Number | None = None
    generation: Number = 0
    run_state: Literal["running", "paused", "draining"] = "running"
    refused: Refusal | None = None
    boot_failure: BootFailure | None = None


class WorkerBeat(BaseModel):
    """What an agent says of one worker it supervises."""

    name: Annotated[str, name(255)]
    pool_uid: Annotated[str, cut(64)]
    pid: Number | None = None
    config: Number | None = None
    state: Annotated[str, cut(20)]
    started_at: Seconds | None = None
    restarts: Number = 0


class Beat(BaseModel):
    """One agent's heartbeat. ``at`` is the agent's own clock; ``(boot, seq)`` changes with every beat."""

    agent: Annotated[str, name(100)]
    host: Annotated[str, cut(255)]
    pid: Number
    boot: Annotated[str, cut(64)]
    seq: Annotated[int, Field(ge=0, le=LARGEST)]
    at: Seconds
    version: Annotated[str, cut(50)] = ""
    python: Annotated[str, cut(50)] = ""
    rq: Annotated[str, cut(50)] = ""
    labels: Annotated[dict[Annotated[str, cut(100)], Annotated[str, cut(200)]], Field(max_length=64)] = {}
    root: Annotated[str, cut(64)] = ""
    pools: Annotated[list[PoolBeat], Field(max_length=1000)]
    workers: Annotated[list[WorkerBeat], Field(max_length=10_000)]


def read_beats(heartbeats: Iterable[dict[str, Any]]) -> list[Beat]:
    """The heartbeats that have this shape."""
    beats = []
    for heartbeat in heartbeats:
        try:
            beats.append(Beat.model_validate(heartbeat))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            log.warning("heartbeat.malformed", agent=str(heartbeat.get("agent"))[:100], field=first["loc"])
    return beats
