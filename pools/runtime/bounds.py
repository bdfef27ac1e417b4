"""What ends a running job from outside its horse: its time, whatever its code does with the exception."""

import time

from rq.timeouts import JobTimeoutException

from pools.runtime.retry import exception_names

# Seconds that a job gets to clean up after the timeout's exception was raised in it.
TIMEOUT_GRACE = 5.0
# A job killed for its time fails as one that stopped when it was told, so the same retry rules apply.
TIMED_OUT = exception_names(JobTimeoutException)


class Bounds:
    """One worker's jobs, one after the other.

    ``why``: what the dead letter of the job that was ended says, a name and a colon first; empty for a job that was
    not. ``names``: what retry rules call it.
    """

    def __init__(self) -> None:
        self.why = ""
        self.names: frozenset[str] = frozenset()
        self._timeout = 0.0
        self._deadline: float | None = None

    def begin(self, timeout: float) -> None:
        """A job is about to begin. ``timeout`` in seconds; 0 or less: it may take for ever."""
        self.why, self.names, self._timeout = "", frozenset(), timeout
        self._deadline = time.monotonic() + timeout + TIMEOUT_GRACE if timeout > 0 else None

    def patience(self) -> float | None:
        """Seconds until the next look; None when there is nothing to look for."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def broken(self) -> bool:
        """Look. True: the job must end now."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            grace = f"{TIMEOUT_GRACE:.0f} s of grace"
            self.why = f"rq.timeouts.JobTimeoutException: it ran on after its {self._timeout:g} s and {grace}."
            self.names = TIMED_OUT
        return bool(self.why)
