"""``on_stop(save)``: what a running job does when its worker has to end before the job has.

When an agent stops, its workers' jobs may go on for the pool's ``stop_grace``. After that the agent asks the process of
a job that named a function here, which calls it, and ends; the pool's delivery policy says whether the job runs again.
Whoever has not ended after ``SECONDS`` more is killed, as jobs without such a function are at once.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rq.job import get_current_job

log = logging.getLogger("rq.worker")

SECONDS = 10.0
# One that programs do not use for themselves; a process that has no function here does not catch it.
_SIGNAL = signal.SIGRTMIN + 6
_SAVED, _NOT_SAVED = 79, 80  # exit codes
_TOLD = {
    _SAVED: "CheckpointSaved: its worker was stopped; it saved its state and ended.",
    _NOT_SAVED: "CheckpointFailed: its worker was stopped; saving its state failed. The worker's output says why.",
}


def on_stop(save: Callable[[], object]) -> None:
    """Have ``save`` called, once, should this job have to end early: between two steps of its main thread, wherever
    that is. It has ten seconds. A later call replaces an earlier one.

    Raises RuntimeError outside a running job, and ValueError outside its main thread.
    """
    if get_current_job() is None:
        raise RuntimeError("on_stop is for a running job")

    def stop(number: int, frame: Any) -> None:
        code = _NOT_SAVED
        try:
            signal.signal(_SIGNAL, signal.SIG_IGN)
            save()
            code = _SAVED
            sys.stdout.flush()
        except BaseException:  # the last may fail, too: the job may have been in the middle of a print
            if code == _NOT_SAVED:
                log.exception("A job's state was not saved")
        finally:
            os._exit(code)

    signal.signal(_SIGNAL, stop)


def forget() -> None:
    """The job's own code is over: what is left to do must not be cut."""
    if signal.getsignal(_SIGNAL) is not signal.SIG_DFL:
        signal.signal(_SIGNAL, signal.SIG_IGN)


def is_awaited_by(pid: int) -> bool:
    """Whether this process would call something; by the signals that the kernel says it catches."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
    return bool(caught >> (_SIGNAL - 1) & 1)


def ask(pid: int) -> None:
    """Raises OSError."""
    os.kill(pid, _SIGNAL)


def saved(status: int) -> bool:
    """Whether a job's process ended because it had saved its state."""
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) == _SAVED


def told(status: int) -> str:
    """What the wait status of a job's process says of it; empty for any other end."""
    return _TOLD.get(os.WEXITSTATUS(status), "") if os.WIFEXITED(status) else ""
