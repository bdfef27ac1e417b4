"""Jobs with one idempotency key: one runs at a time, and its result is that of those that come after it.

The key is taken by the script that claims a job (lua/once.lua), and told how the job ended by the script that writes
its end, or by lua/reap.lua when whoever ran it is dead. Pure: what is to be written is answered, not done.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

from pools.runtime.refusals import JobRefused
from pools.runtime.task_name import key_value

# In a job's hash, beside rq's fields, from its first claim on: the digest of its key, "" when it has none.
DIGEST = "pw_once"
# From its claim until its end, when its key was answered before: with the result of which job, and that result as rq
# stores results. No result: that job's outcome is unknown. In its result the first says whose it is.
BY, RESULT = "pw_answered", "pw_answer"
JOB = "job"


class UnknownOutcome(Exception):
    """The job was not run, as one with its key may have done its work already. The message says so to a person."""

    __module__ = "poolwarden"


@dataclass(frozen=True)
class Answer:
    """What a key says of a job that is not to be run: whose result it gets; None for an unknown one, "" for none."""

    by: str
    result: str | None

    @classmethod
    def read(cls, raw: dict[bytes, bytes]) -> "Answer | None":
        by, result = raw.get(BY.encode()), raw.get(RESULT.encode())
        if by is None:
            return None
        return cls(by.decode(errors="replace"), result.decode() if result is not None else None)

    def check(self) -> None:
        """Raise UnknownOutcome when there is no result to give."""
        if self.result is None:
            raise UnknownOutcome(
                f"Job {self.by}, which has the same idempotency key, was lost while it ran, and its outcome is "
                "unknown. So this job was not run. Requeue one of the two to run it all the same."
            )


def digest(pool_uid: str, task: str, data: bytes, path: str, job_id: str) -> str:
    """The digest of the key that a job of this payload has at ``path``; "" for none. Raises JobRefused.

    By task and pool. No key keeps it: whoever reads the broker reads payloads. It keeps values out of key names.
    """
    try:
        value = job_id if path == JOB else key_value(data, path)
    except ValueError as error:
        raise JobRefused(f"its idempotency key cannot be read: {error}") from None
    if not value:
        return ""
    return hashlib.sha256("\0".join((pool_uid, task, path, value)).encode(errors="replace")).hexdigest()


def succeeded(key: str, job_id: str, result: str | None, keep: int) -> list[tuple[Any, ...]]:
    """The writes that keep a result, as rq stores it, for ``keep`` seconds."""
    told = ("HSET", key, "state", "done", "job", job_id, "result", result or "")
    return [("DEL", key), told, ("EXPIRE", key, keep)]


def failed(key: str) -> list[tuple[Any, ...]]:
    """The writes that let the next job with this key run."""
    return [("DEL", key)]


def lost(key: str, job_id: str, keep: int) -> list[tuple[Any, ...]]:
    """The writes that keep the next job with this key from running, until a person requeues it or the lost one."""
    return [("HSET", key, "state", "unknown", "job", job_id), *may_run(key, job_id, keep)]


def may_run(key: str, job_id: str, keep: int) -> list[tuple[Any, ...]]:
    """The writes by which a job runs though an outcome is unknown: it can only be back because a person requeued it."""
    return [("HSET", key, f"may:{job_id}", 1), ("EXPIRE", key, keep)]
