"""Functions that tests enqueue; stock RQ imports them by name."""

import time
from pathlib import Path
from typing import Any


def fails(*args: Any, **kwargs: Any) -> None:
    raise ValueError(f"no such order: {args!r}")


def succeeds(*args: Any, **kwargs: Any) -> str:
    return "done"


def waits_for(path: str, *, timeout: float = 30.0) -> None:
    """Run until the file exists."""
    deadline = time.monotonic() + timeout
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def on_failure(job: Any, connection: Any, kind: Any, value: Any, trace: Any) -> None:
    """A callback whose name lies in the job's record."""


class Marker:
    """A payload that leaves a file behind when somebody unpickles it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")


def fails_unless(path: str, then: str = "") -> None:
    """Fail as long as the file does not exist; afterwards wait for another one, if it is given."""
    if not Path(path).exists():
        raise ValueError("not mended yet")
    if then:
        waits_for(then)
