"""Text and numbers from a shared broker, made fit for a column: annotations for pydantic fields."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.fields import FieldInfo

LARGEST = 2**63 - 1


def cut(limit: int) -> AfterValidator:
    """Text of at most ``limit`` characters, without NUL (PostgreSQL refuses it) and lone surrogates (UTF-8 does)."""
    return AfterValidator(lambda value: value.encode("utf-8", "replace").decode().replace("\x00", "")[:limit])


def name(limit: int) -> FieldInfo:
    """What something is known by: refused, not cut, when it does not fit. The pattern also refuses lone surrogates."""
    found: FieldInfo = Field(min_length=1, max_length=limit, pattern=r"^[^\x00]+$")
    return found


Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
