"""The application under test: what its workers load, in a folder and with names of its own."""

import base64
import os
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote


def add(a, b):
    return a + b


def horse():
    return os.getpid()


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


class SlowToStore:
    """A result whose storing takes until ``<path>.release`` exists; what is stored is the path."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        hold(self.path)
        return str, (self.path,)


def end_slowly(path):
    return SlowToStore(path)


def fail(kind="ValueError", text="broken"):
    raise {"ValueError": ValueError, "TimeoutError": TimeoutError, "KeyError": KeyError}[kind](text)


def secret_length(name):
    """The length of a secret, after having had it in a local variable and an exception's neighbourhood."""
    from pools.runtime import secrets

    return len(secrets.get(name))


def secret_then_fail(name):
    from pools.runtime import secrets

    value = secrets.get(name)
    shown = [value, value.encode(), value.encode().hex(), base64.b64encode(value.encode()), quote(f"?token={value}&")]
    raise RuntimeError(f"failed with {shown}")


def environment():
    """What this process and its worker show to any process of the same user."""
    shown = {}
    for who, pid in (("horse", os.getpid()), ("worker", os.getppid())):
        for file in ("environ", "cmdline"):
            shown[f"{who} {file}"] = Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
    return shown


def kill_worker(path):
    """A job that is what kills its worker: the parent of the process that forked this one."""
    mark(path)
    status = Path(f"/proc/{os.getppid()}/status").read_text()
    os.kill(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:")), 9)
    time.sleep(60)


def mislead(what):
    """A job that writes into every pipe it finds."""
    for fd in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{fd}"
        if os.path.exists(path) and os.readlink(path).startswith("pipe:"):
            with suppress(OSError):  # the end that is read
                os.write(int(fd), what.encode())
    time.sleep(60)


def break_client():
    """A job that spoils what its process tells the broker with."""
    from redis.client import Pipeline

    def spoilt(self, *args, **options):
        raise RuntimeError("spoilt")

    Pipeline.execute = spoilt


def note():
    """Save something in the job's meta while it runs."""
    from rq import get_current_job

    job = get_current_job()
    job.meta["during"] = 2
    job.save_meta()


def succeeded(job, connection, result):
    connection.set("rq:seen:success", f"{job.id} {result}")


def failed(job, connection, kind, value, traceback):
    connection.set("rq:seen:failure", f"{job.id} {kind.__name__}")


def told(job, connection, *outcome):
    """A callback: leave a line in the file that the job was called with."""
    mark(f"{job.args[0]}.{'failure' if len(outcome) == 3 else 'success'}")


def instead(job_id, task, queue, error):
    """A fallback."""
    if job_id == "first":
        raise RuntimeError("no way out")
    return [job_id, task, queue, error]
