"""One job's attempts."""

from datetime import datetime
from typing import Annotated

from django.http import Http404, HttpRequest
from ninja import Query, Router, Schema
from pydantic import Field

from pools.api.auth import actor
from pools.broker.attempts import Attempts, attempts_of
from pools.models import DeadLetter
from pools.selectors.jobs import find_job
from pools.selectors.queues import pool_having

router = Router()
BrokerName = Annotated[str, Query(max_length=50, description="the broker that holds the job")]


class AttemptOut(Schema):
    number: int = Field(description="from 1")
    outcome: str = Field(
        description="running, successful, failed, retried (failed, to be run again), stopped, max_retries_exceeded or "
        "unknown"
    )
    worker: str
    host: str = Field(description="empty when a worker ran it that no agent started")
    config_version: int | None = Field(description="null when a worker ran it that no agent started", alias="config")
    started_at: datetime | None
    ended_at: datetime | None
    took: float | None = Field(description="seconds")
    why: str = Field(description="the error's first line, and what the pool's policy did")


class AttemptsOut(Schema):
    runs: list[AttemptOut] = Field(description="newest first; RQ keeps ten that have ended")
    status: str = Field(description="RQ's, as queued or finished; empty when the broker has no such job")
    queue: str = Field(description="empty when the broker has no such job")
    forgotten: int = Field(description="earlier attempts, which the broker keeps no more")
    next_at: datetime | None = Field(description="when the job runs again, while it waits for a retry")
    problem: str = Field(description="why nothing can be said, else empty")


@router.get("{path:job_id}/attempts", response=AttemptsOut)
def list_attempts(request: HttpRequest, job_id: str, broker: BrokerName = "default") -> Attempts:
    """Every run of a job that the broker still knows: who, where, by which config, how long and why it failed."""
    attempts = attempts_of(broker, job_id)
    if pool_having(actor(request), broker, attempts.queue) is None:
        try:
            find_job(actor(request), job_id, broker)
        except DeadLetter.DoesNotExist as missing:
            raise Http404 from missing
    return attempts
