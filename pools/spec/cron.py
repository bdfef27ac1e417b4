"""Cron entries: which job is enqueued when, and what happens to a slot that comes late or meets the one before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from pools.spec.errors import FieldError
from pools.spec.fields import IDENTIFIER, CronName, Matching, TaskName, clean_text
from pools.spec.part import Part
from pools.spec.schedule import Schedule, schedule

MOST_ARGUMENTS = 64
LONGEST_TEXT = 1000
LARGEST = 2**53 - 1  # what every reader of JSON reads alike
_ARGUMENT: JsonSchemaValue = {
    "anyOf": [
        {"type": "string", "maxLength": LONGEST_TEXT},
        {"type": "integer", "minimum": -LARGEST, "maximum": LARGEST},
    ]
}


@dataclass(frozen=True)
class _Arguments:
    """A list (by place) or a group (by name) of text and whole numbers."""

    def check(self, value: Any) -> Any:
        if isinstance(value, list):
            checked: Any = [_argument(f"argument {place}", item) for place, item in enumerate(value, 1)]
        elif isinstance(value, dict):
            checked = {_argument_name(name): _argument(f"{name}", item) for name, item in value.items()}
        else:
            raise ValueError('must be a list, such as ["eu", 7], or names with values, such as {"region": "eu"}')
        if len(checked) > MOST_ARGUMENTS:
            raise ValueError(f"must hold at most {MOST_ARGUMENTS} arguments")
        return checked

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, core_schema.any_schema())

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        by_place = {"type": "array", "items": _ARGUMENT, "maxItems": MOST_ARGUMENTS}
        by_name = {"type": "object", "additionalProperties": _ARGUMENT, "maxProperties": MOST_ARGUMENTS}
        return {"anyOf": [by_place, by_name]}


def _argument(which: str, value: Any) -> str | int:
    if isinstance(value, str) and len(value) <= LONGEST_TEXT:
        return clean_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST:
        return value
    raise ValueError(f"{which} must be text of at most {LONGEST_TEXT} characters or a whole number within ±2^53")


def _argument_name(name: Any) -> str:
    rule = "must name arguments as Python does: letters, digits and _"
    return Matching(IDENTIFIER, rule).check(name if isinstance(name, str) else "")


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("must be a time zone of the IANA list that this host knows, such as Europe/Berlin") from None
    return name


TimeZone = Annotated[
    str,
    Matching(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", "must be a time zone's name, such as Europe/Berlin or UTC"),
    AfterValidator(_known_zone),
]


class CronEntry(Part):
    """One job that is enqueued by the clock. Its slots are the moments at which it is due."""

    name: CronName = Field(title="Name", description="Used once in a pool, and a part of the jobs' ids.")
    task: TaskName = Field(title="Task", description="The task's dotted name, such as shop.tasks.report.")
    timezone: TimeZone = Field(
        "UTC", title="Time zone", description="On whose clock the schedule is read, such as Europe/Berlin."
    )
    schedule: str = Field(
        max_length=200,
        title="Schedule",
        description="Minute, hour, day, month, weekday: 30 2 * * 1-5. Or @hourly, @daily, @weekly, @monthly, @yearly.",
    )
    args: Annotated[Any, _Arguments()] = Field(
        [],
        title="Arguments",
        description='JSON, of text and whole numbers: ["eu", 7] by place, {"region": "eu"} by name.',
    )
    queue: str = Field("", max_length=200, title="Queue", description="One of the pool's queues. Empty: its first.")
    overlap: Literal["allow", "skip"] = Field(
        "skip",
        title="Overlap",
        description="When the job of an earlier slot still waits or runs: skip the slot, or allow both.",
    )
    catch_up: Literal["none", "last", "all"] = Field(
        "none",
        title="Missed slots",
        description="Slots that came while nothing could be enqueued: none of them, the last, or all up to 100.",
    )

    @field_validator("schedule")
    @classmethod
    def _comes(cls, text: str, info: ValidationInfo) -> str:
        if "timezone" in info.data:
            schedule(text, info.data["timezone"])
        return text

    @field_validator("catch_up")
    @classmethod
    def _not_at_once(cls, catch_up: str, info: ValidationInfo) -> str:
        if catch_up == "all" and info.data.get("overlap") == "skip":
            raise ValueError("must not be all while overlaps are skipped: only the first job would be enqueued")
        return catch_up

    @property
    def slots(self) -> Schedule:
        return schedule(self.schedule, self.timezone)


def cron_faults(entries: Sequence[CronEntry], queues: Sequence[str]) -> list[FieldError]:
    """What is wrong between entries, and between them and the pool."""
    faults, names = [], set[str]()
    for place, entry in enumerate(entries):
        if entry.name in names:
            faults.append(FieldError(f"cron.{place}.name", f"must not be {entry.name} twice"))
        if entry.queue and entry.queue not in queues:
            faults.append(FieldError(f"cron.{place}.queue", "must be one of the pool's queues"))
        names.add(entry.name)
    return faults
