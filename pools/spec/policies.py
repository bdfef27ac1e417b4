"""Delivery policies: what becomes of a task's jobs that are lost, late, or have been done already."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pools.spec.errors import FieldError
from pools.spec.fields import ArgumentPath, TaskPattern
from pools.spec.part import Part

DAY = 86_400

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

    @field_validator("schema_versions")
    @classmethod
    def _each_once(cls, versions: list[int]) -> list[int]:
        twice = [version for place, version in enumerate(versions) if version in versions[:place]]
        if twice:
            raise ValueError(f"must not name {twice[0]} twice")
        return versions


def policy_faults(policies: Sequence[DeliveryPolicy]) -> list[FieldError]:
    """What is wrong between fields of a policy."""
    return [
        FieldError(f"policies.{place}.idempotency_key", "must not be queue: an argument's path, or job")
        for place, policy in enumerate(policies)
        if policy.idempotency_key == "queue"
    ]
