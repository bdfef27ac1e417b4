"""The application under test: what its workers load, in a folder and with names of its own."""

import os
import time
from pathlib import Path


def add(a, b):
    return a + b


def mark(path):
    """Leave one line for each run."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


def hold(path, seconds=60.0):
    """Say that the job runs, then run until ``<path>.release`` exists."""
    mark(path)
    deadline = time.monotonic() + seconds
    while not Path(f"{path}.release").exists():
        if time.monotonic() > deadline:
            raise TimeoutError("not released")
        time.sleep(0.02)
    mark(f"{path}.done")


def fail(kind="ValueError", text="broken"):
    raise {"ValueError": ValueError, "TimeoutError": TimeoutError, "KeyError": KeyError}[kind](text)
