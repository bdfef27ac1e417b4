"""Delivery policies: what becomes of a task's jobs that are lost, late, or have been done already."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pools.spec.admission import NOT_LISTED, Admission
from pools.spec.errors import FieldError
from pools.spec.fields import ArgumentPath, OptionalTask, TaskPattern
from pools.spec.part import Part

DAY = 86_400
YEAR = 365 * DAY

SchemaVersion = Annotated[int, Field(ge=0, le=1_000_000)]


class DeliveryPolicy(Part):
    """What a task's jobs are promised. The first policy whose pattern matches the task's name applies, and no other."""

    task: TaskPattern = Field(
        title="Task", description="The task's dotted name. * stands for any text: billing.* or *.send_mail."
    )
    delivery: Literal["at_most_once", "at_least_once"] = Field(
        "at_most_once",
        title="Delivery",
        description="Of a job whose worker is lost while it runs. at_most_once: a dead letter whose outcome is "
        "unknown. at_least_once: it runs again, first of its queue; the task must bear to run twice.",
    )
    losses: int = Field(
        3,
        ge=1,
        le=100,
        title="Losses",
        description="At the lost run of this number an at_least_once job is a dead letter: it may be what kills.",
    )
    deadline: int = Field(
        0,
        ge=0,
        le=7 * DAY,
        title="Deadline",
        description="Seconds after it is enqueued in which a job may begin, retries too; later it is a dead letter "
        "that was not run. 0: no deadline.",
    )
    idempotency_key: ArgumentPath = Field(
        "",
        title="Idempotency key",
        description="An argument's path, such as order or 0.id, or job: the job's id. Of jobs with one key one runs at "
        "a time, and what it returned is the result of those that come after it. Empty: none.",
    )
    idempotency_keep: int = Field(
        DAY,
        ge=1,
        le=7 * DAY,
        title="Keep its result",
        description="Seconds that a key's result answers later jobs. Means nothing without a key.",
    )
    schema_versions: list[SchemaVersion] = Field(
        [],
        max_length=64,
        title="Payload versions",
        description="What these workers know of what producers mark a job with, as its meta's schema. Jobs of another "
        "version wait for a worker that knows it. Empty: marks mean nothing.",
    )

    failure_ttl: int = Field(
        0,
        ge=0,
        le=YEAR,
        title="Keep failures",
        description="Seconds that a failed job is a dead letter, at least 60; then it is gone. 0: as the pool's.",
    )
    fallback: OptionalTask = Field(
        "",
        title="Fallback",
        description="The task that is called once when a job has finally failed, with job_id, task, queue and error. "
        "Empty: none.",
    )
    fallback_queue: str = Field(
        "",
        max_length=200,
        title="Fallback's queue",
        description="One of the pool's queues. Empty: the failed job's. Means nothing without a fallback.",
    )

    @field_validator("failure_ttl")
    @classmethod
    def _long_enough(cls, seconds: int) -> int:
        if 0 < seconds < 60:
            raise ValueError("must be 0 or at least 60: what is gone sooner nobody sees")
        return seconds

    @field_validator("schema_versions")
    @classmethod
    def _each_once(cls, versions: list[int]) -> list[int]:
        twice = [version for place, version in enumerate(versions) if version in versions[:place]]
        if twice:
            raise ValueError(f"must not name {twice[0]} twice")
        return versions


def policy_faults(policies: Sequence[DeliveryPolicy], queues: Sequence[str], admission: Admission) -> list[FieldError]:
    """What is wrong between a policy's fields and the spec's others."""
    faults = []
    for place, policy in enumerate(policies):
        if policy.idempotency_key == "queue":
            faults.append(FieldError(f"policies.{place}.idempotency_key", "must not be queue: a path, or job"))
        if policy.fallback_queue and policy.fallback_queue not in queues:
            faults.append(FieldError(f"policies.{place}.fallback_queue", "must be one of the pool's queues, or empty"))
        listed = any(fnmatchcase(policy.fallback, pattern) for pattern in admission.tasks)
        if policy.fallback and admission.tasks and not listed:
            faults.append(FieldError(f"policies.{place}.fallback", NOT_LISTED))
    return faults
