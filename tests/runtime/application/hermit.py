"""Jobs that look for what a sandbox must not hold."""

import gc
import os
from contextlib import suppress
from pathlib import Path

from rq import Retry, get_current_job

CLIENTS = ("redis.client.Redis", "redis.connection.Connection", "redis.connection.ConnectionPool")


def hunt(secret, state):
    """Redis clients among all objects, and the places where a text is found: memory, environment, open sockets."""
    gc.unfreeze()  # what was there at the fork is among them, too
    kinds = {f"{type(thing).__module__}.{type(thing).__qualname__}" for thing in gc.get_objects()}
    clients = sorted(kind for kind in kinds if kind in CLIENTS)
    dicts = [thing for thing in gc.get_objects() if isinstance(thing, dict)]
    held = [text for thing in dicts for text in thing.values() if isinstance(text, str) and text.endswith(secret)]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline"):
            with suppress(OSError):
                found += [str(process / name)] if secret.encode() in (process / name).read_bytes() else []
    inside = sorted(os.listdir(state)) if os.access(state, os.R_OK) else []
    return {"clients": clients, "held": held, "found": found, "state": inside}


def processes():
    """How many there are to be seen."""
    return len([name for name in os.listdir("/proc") if name.isdigit()])


def describe(*args, **kwargs):
    job = get_current_job()
    said = ""
    try:
        job.save_meta()
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    return {"id": job.id, "args": list(job.args), "kwargs": job.kwargs, "meta": job.meta, "said": said}


def again():
    return Retry(max=1)


def remember(fails):
    """In meta, which nobody saves."""
    job = get_current_job()
    job.meta["runs"] = job.meta.get("runs", 0) + 1
    if fails:
        raise ValueError("broken")
    return Retry(max=1)


def nothing():
    return None


def lock():
    """What no serializer takes."""
    import threading

    return threading.Lock()


def double(number):
    return 2 * number
