"""What ends a running job from outside its horse: its time, whatever it does with the exception, and its limits."""

import time

from rq.timeouts import JobTimeoutException

from pools.runtime import checkpoint
from pools.runtime.retry import exception_names
from pools.runtime.sandbox.folder import Folder
from pools.runtime.sandbox.meter import Meter

# Seconds that a job gets to clean up after the timeout's exception was raised in it.
TIMEOUT_GRACE = 5.0
# A job killed for its time fails as one that stopped when it was told, so the same retry rules apply.
TIMED_OUT = exception_names(JobTimeoutException)


class Bounds:
    """One worker's jobs, one after the other. ``meter`` is None for a pool without isolation: then only time counts.

    ``why``: what the dead letter of the job that was ended says, a name and a colon first; empty for a job that was
    not. ``names``: what retry rules call it. ``left``: what a horse that was asked to end says by its exit code;
    ``saved``: that it saved its state.
    """

    def __init__(self, meter: Meter | None) -> None:
        self.why = self.left = ""
        self.saved = False
        self._meter = meter
        self._timeout = 0.0
        self._deadline: float | None = None

    @property
    def kind(self) -> str:
        """The name of the error that ended the job; "" for none."""
        return self.why.partition(":")[0]

    @property
    def names(self) -> frozenset[str]:
        name = self.kind
        return TIMED_OUT if name in TIMED_OUT else frozenset({name} - {""})

    def begin(self, timeout: float, horse: int, folder: Folder | None) -> None:
        """A job is about to be given to ``horse``, whose ``folder`` is its own, in a pool with isolation.

        ``timeout`` in seconds; 0 or less: it may take for ever.
        """
        self.why, self.left, self.saved, self._timeout = "", "", False, timeout
        self._deadline = time.monotonic() + timeout + TIMEOUT_GRACE if timeout > 0 else None
        if self._meter is not None:
            assert folder is not None
            self._meter.begin(horse, folder)

    def patience(self) -> float | None:
        """Seconds until the next look; None when there is nothing to look for."""
        looks = [self._deadline, self._meter.next_look if self._meter else None]
        moments = [moment for moment in looks if moment is not None]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def broken(self) -> bool:
        """Look. True: the job must end now."""
        if self.why:
            return True
        if self._deadline is not None and time.monotonic() >= self._deadline:
            grace = f"{TIMEOUT_GRACE:.0f} s of grace"
            self.why = f"rq.timeouts.JobTimeoutException: it ran on after its {self._timeout:g} s and {grace}."
        elif self._meter is not None:
            self.why = self._meter.overrun()
        return bool(self.why)

    def over(self, status: int | None) -> None:
        """The horse has ended, with this wait status; None when that was said before."""
        told = self._meter.over(status) if self._meter is not None and status is not None else ""
        self.why = self.why or told
        if status is not None:
            self.left, self.saved = checkpoint.told(status), checkpoint.saved(status)
