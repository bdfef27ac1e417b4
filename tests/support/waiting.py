"""Waiting for a condition: the only way a test may let time pass."""

import time
from collections.abc import Callable


def wait_for[T](condition: Callable[[], T], *, timeout: float = 10.0, message: str = "", every: float = 0.05) -> T:
    """Return the first truthy value of ``condition()``; fail after ``timeout`` seconds, naming what was awaited."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {message or condition} (last value: {value!r})")
        time.sleep(every)
