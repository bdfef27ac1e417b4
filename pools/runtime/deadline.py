"""Until when a job may begin, by the pool's signed policy. Pure: times are Unix seconds that the caller gives."""

import math
from datetime import UTC, datetime
from typing import Any

# In a job's hash, beside rq's fields: the time, from its first run until it ends or is a dead letter.
FIELD = "pw_deadline"
TOO_LATE = "Its deadline would be over before its next attempt, so it was not run again."


class ExpiredError(Exception):
    """The job was not run, as its deadline is over. The message says so to a person."""


def read(raw: Any) -> float | None:
    """What ``FIELD`` holds; None for nothing, and for what is no time."""
    try:
        value = float(raw)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def until(seconds: int, known: float | None, enqueued: float, now: float) -> float | None:
    """The deadline of a job of which ``FIELD`` holds ``known``; None when its policy has none (``seconds`` 0).

    Never later than ``seconds`` from now: a producer's clock that is ahead gives no more time, nor does junk.
    """
    if not seconds:
        return None
    return min(enqueued + seconds if known is None else known, now + seconds)


def check(deadline: float | None, seconds: int, now: float) -> None:
    """Raise ExpiredError when the deadline is over."""
    if deadline is not None and now > deadline:
        raise ExpiredError(
            f"The job has expired and was not run: it was to begin by {_words(deadline)}, {seconds} s after it was "
            f"enqueued, and by this host's clock it is {_words(now)}."
        )


def _words(moment: float) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {moment:.0f}"
