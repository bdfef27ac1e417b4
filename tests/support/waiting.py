"""Waiting for a condition: the only way a test may let time pass."""

import time
from collections.abc import Callable


def wait_for[T](
    condition: Callable[[], T], *, timeout: float = 30.0, message: str | Callable[[], str] = "", every: float = 0.05
) -> T:
    """Return the first truthy value of ``condition()``; fail after ``timeout`` seconds, naming what was awaited.

    ``message`` may be a function, for what is worth reading only then.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            told = message() if callable(message) else message
            raise AssertionError(f"not within {timeout} s: {told or condition} (last value: {value!r})")
        time.sleep(every)
