"""What is wrong with a spec, field by field, in words for the person who wrote it."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

MAX_ERRORS = 50
MAX_PATH_PART = 80

# pydantic's error types → our sentence. `{…}` is filled from the error's own context.
MESSAGES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of a pool spec",
    "invalid_key": "is not text; field names must be text",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters long",
    "list_type": "must be a list",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "dict_type": "must be a group of names and values",
    "model_type": "must be a group of fields",
    "literal_error": "must be {expected}",
}


@dataclass(frozen=True)
class FieldError:
    """One fault. ``path``: dotted, list positions from 0 (``retry.0.max``), "" for the whole text; ``line``: from 1."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = self.path or (f"line {self.line}" if self.line else "spec")
        return f"{place}: {self.message}"


class SpecError(ValueError):
    """A spec that cannot be used. ``errors`` holds at least one and at most ``MAX_ERRORS`` faults."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors[:MAX_ERRORS]
        super().__init__("; ".join(str(error) for error in self.errors))

    @classmethod
    def from_pydantic(cls, error: ValidationError) -> "SpecError":
        details = error.errors(include_url=False, include_input=False)
        return cls([FieldError(_path(detail["loc"]), _message(detail)) for detail in details])


def _path(location: tuple[int | str, ...]) -> str:
    # pydantic marks a fault in a mapping's key with a last part "[key]"; the field to point at is the entry itself.
    return ".".join(str(part)[:MAX_PATH_PART] for part in location if part != "[key]")


def _message(detail: Any) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    template = MESSAGES.get(detail["type"])
    return template.format(**context) if template else str(detail["msg"])
