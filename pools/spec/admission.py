"""Which jobs a pool's workers run. What else lies in its queues they refuse, and the console sets it aside."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from pools.spec.cron import CronEntry
from pools.spec.errors import FieldError
from pools.spec.fields import TaskName, TaskPattern, Unique
from pools.spec.part import Part

NOT_LISTED = "must be on the list of tasks that the pool admits"


class Admission(Part):
    """The defaults refuse only what cannot be read and what is very large."""

    tasks: Annotated[list[TaskPattern], Unique()] = Field(
        [],
        max_length=256,
        title="Tasks",
        description="Only these may run, as tasks and as callbacks: dotted names; * stands for any text. Empty: any.",
    )
    types: Annotated[list[TaskName], Unique()] = Field(
        [],
        max_length=256,
        title="Types in pickles",
        description="With a list of tasks: what a pickled argument may be made of besides Python's own values. Each is "
        "code that whoever writes to a queue may call.",
    )
    callbacks: Literal["allow", "refuse"] = Field(
        "allow", title="Callbacks", description="Functions that a job's record names to be called at its end."
    )
    webhooks: Literal["allow", "refuse"] = Field(
        "allow",
        title="Webhooks",
        description="Addresses that a job's record names to be called at its end, from inside your network.",
    )
    job_kib: int = Field(
        16_384,
        ge=1,
        le=524_288,
        title="Largest job",
        description="KiB that a job's record may take on the broker, and its payload when it is unpacked.",
    )

    @field_validator("types")
    @classmethod
    def _only_beside_tasks(cls, types: list[str], info: ValidationInfo) -> list[str]:
        if types and not info.data.get("tasks"):
            raise ValueError("must be empty without a list of tasks: then a pickle may hold anything")
        return types


def admission_faults(admission: Admission, entries: Sequence[CronEntry]) -> list[FieldError]:
    """Cron entries whose jobs the pool itself would refuse."""
    listed = [any(fnmatchcase(entry.task, pattern) for pattern in admission.tasks) for entry in entries]
    return [
        FieldError(f"cron.{place}.task", NOT_LISTED)
        for place, is_listed in enumerate(listed)
        if admission.tasks and not is_listed
    ]
