"""The work: each run leaves its traces in a file that no fault touches, and returns the name of the run."""

import os
import random
import time
import uuid

from rq import get_current_job


def effect(ledger, job_id, seconds):
    """Returns the run's name, so that a committed result tells which run it came from. Never to be run twice."""
    run = uuid.uuid4().hex
    _note(ledger, "start", job_id, run)
    time.sleep(seconds)
    _note(ledger, "end", job_id, run)
    return run


def again(ledger, job_id, seconds):
    """The same, for a task that may be run again when its worker is lost."""
    return effect(ledger, job_id, seconds)


def flaky(ledger, job_id, seconds):
    """Fails half of the time, and is retried by the pool's rules."""
    return _perhaps(effect(ledger, job_id, seconds), 0.5)


def gated(ledger, job_id, seconds):
    """Depends on something that is down now and then: there is a breaker before it, and a limit."""
    return _perhaps(effect(ledger, job_id, seconds), 0.2)


def broken(ledger, job_id, seconds):
    effect(ledger, job_id, seconds)
    raise ValueError("broken on purpose")


def slot(ledger):
    """The job of a cron slot."""
    return effect(ledger, get_current_job().id, 0.01)


def unlisted(ledger, job_id, seconds):
    """Not on the list of tasks that a managed pool admits."""
    return effect(ledger, job_id, seconds)


def _perhaps(run, chance):
    if random.random() < chance:
        raise ConnectionError("not there now")
    return run


def _note(ledger, what, job_id, run):
    """One write of one line, appended: no run can tear the line of another. The clock is the machine's."""
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND)
    os.write(file, f"{what} {job_id} {run} {time.monotonic():.6f}\n".encode())
    os.close(file)
