"""The work: each run leaves its traces in a file that no fault touches, and returns the name of the run."""

import os
import time
import uuid


def effect(ledger, job_id, seconds):
    """Returns the run's name, so that a committed result tells which run it came from."""
    run = uuid.uuid4().hex
    _note(ledger, "start", job_id, run)
    time.sleep(seconds)
    _note(ledger, "end", job_id, run)
    return run


def broken(ledger, job_id, seconds):
    effect(ledger, job_id, seconds)
    raise ValueError("broken on purpose")


def _note(ledger, what, job_id, run):
    """One write of one line, appended: no run can tear the line of another."""
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{what} {job_id} {run}\n".encode())
    os.close(file)
