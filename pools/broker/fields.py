"""Raw broker values made safe: any bytes in, text, times and numbers out, never an exception, never unpickled."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from redis.exceptions import ResponseError

TEXT_LIMIT = 2000
RQ_TIMES = ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%dT%H:%M:%SZ")
USUAL_TIME = len("2026-11-22T02:31:00.000000Z")


def text(raw: Any, limit: int = TEXT_LIMIT) -> str:
    """Text of at most ``limit`` characters; bytes that are not UTF-8 are replaced, NUL (which SQL refuses) removed."""
    if isinstance(raw, bytes):  # first: nearly all are, of a million failures' fields
        return raw.decode("utf-8", "replace").replace("\x00", "")[:limit]
    return "" if raw is None or isinstance(raw, ResponseError) else str(raw).replace("\x00", "")[:limit]


def moment(raw: Any) -> datetime | None:
    """The time that RQ wrote, in UTC; None for nothing and for what is not a time."""
    value = text(raw, 40)
    if len(value) == USUAL_TIME and value[10] == "T" and value[-1] == "Z":
        with suppress(ValueError):
            return datetime.fromisoformat(value)  # in a hundredth of what strptime takes
    for shape in RQ_TIMES:
        try:
            return datetime.strptime(value, shape).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def unix_moment(raw: Any) -> datetime | None:
    """The time of a number of seconds since 1970, in UTC."""
    try:
        return datetime.fromtimestamp(float(text(raw, 40)), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def stream_moment(raw: Any) -> datetime | None:
    """The time in a stream entry's id (``milliseconds-sequence``)."""
    try:
        return datetime.fromtimestamp(int(text(raw, 40).split("-")[0]) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def integer(raw: Any, default: int | None = None) -> int | None:
    """A whole number as RQ wrote it; ``default`` for anything else."""
    if isinstance(raw, int):
        return raw
    try:
        return int(text(raw, 30))
    except ValueError:
        return default


def count(raw: Any) -> int:
    """A whole number that is never negative; 0 for anything else, as for a key of another type."""
    return max(integer(raw) or 0, 0)


def seconds(raw: Any) -> float:
    try:
        value = float(text(raw, 40))
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e15 else 0.0


def listed(raw: Any) -> list[Any]:
    """The answer to a command that returns several things; empty for a key of another type."""
    return [] if raw is None or isinstance(raw, ResponseError) else list(raw)
