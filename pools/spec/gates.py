"""Breakers and limits: what holds a job back in its queue, before it is taken."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from pools.spec.errors import FieldError
from pools.spec.fields import ArgumentPath, ExceptionName, GateName, TaskPattern, Unique
from pools.spec.part import Part

DAY = 86_400

Tasks = Annotated[
    list[TaskPattern],
    Unique(),
    Field(
        min_length=1,
        max_length=32,
        title="Tasks",
        description="Dotted names. * stands for any text: billing.* or *.send_mail.",
    ),
]


class BreakerRule(Part):
    """A dependency of some tasks. When it fails too often, jobs of these tasks wait instead of failing."""

    name: GateName = Field(title="Name", description="What the tasks depend on. Used once in a pool.")
    tasks: Tasks
    failures: int = Field(
        5, ge=1, le=1000, title="Failures", description="So many within the window open the breaker: no job begins."
    )
    window: int = Field(60, ge=1, le=DAY, title="Window", description="Seconds in which failures are counted.")
    open_for: int = Field(
        30, ge=1, le=DAY, title="Open for", description="Seconds until it is half-open and lets probes through."
    )
    probes: int = Field(
        1,
        ge=1,
        le=100,
        title="Probes",
        description="Jobs that a half-open breaker lets through. It closes when all succeed, and opens when one fails.",
    )
    errors: Annotated[list[ExceptionName], Unique()] = Field(
        [], max_length=64, title="Errors", description="Exceptions that count. Empty: every failure counts."
    )


class LimitRule(Part):
    """How many jobs of some tasks may begin in a second, and how many may run."""

    name: GateName = Field(title="Name", description="Used once in a pool.")
    tasks: Tasks
    per_second: int = Field(
        0, ge=0, le=10_000, title="Per second", description="Jobs that begin in a second. 0: as many as there are."
    )
    burst: int = Field(
        1, ge=1, le=10_000, title="Burst", description="Jobs that may begin at once, before the rate holds."
    )
    concurrency: int = Field(
        0, ge=0, le=10_000, title="Concurrency", description="Jobs that run at the same time. 0: any number."
    )
    by: ArgumentPath = Field(
        "",
        title="Counted by",
        description="queue: each queue. An argument's path, such as tenant or 0.id: each value. Empty: together.",
    )


def gate_faults(breakers: Sequence[BreakerRule], limits: Sequence[LimitRule]) -> list[FieldError]:
    """What is wrong between breakers, between limits, and between fields of a limit."""
    return [
        *_repeated("breakers", [breaker.name for breaker in breakers]),
        *_repeated("limits", [limit.name for limit in limits]),
        *(
            FieldError(f"limits.{place}.concurrency", "must be at least 1 when the rate is 0: this limits nothing")
            for place, limit in enumerate(limits)
            if not limit.concurrency and not limit.per_second
        ),
    ]


def _repeated(field: str, names: Sequence[str]) -> list[FieldError]:
    places = [place for place, name in enumerate(names) if name in names[:place]]
    return [FieldError(f"{field}.{place}.name", f"must not be {names[place]} twice") for place in places]
