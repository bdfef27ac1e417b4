"""The job that is enqueued in place of one that has finally failed, by the pool's signed policy: once for each run.

What is to be written for it is made here, and done by the script that writes the failure (lua/finish.lua), or by
lua/reap.lua when whoever ran the job is dead.
"""

import json
from typing import Any

from rq.job import Job, JobStatus
from rq.utils import now

from pools.runtime.delivery import DeliveryRule

# In a job's hash, beside rq's fields, while it runs: the fallback for when it is lost, as JSON {id, queue, fields}, and
# that job's payload. In the result of the failed run the first is its id. In a fallback itself: for which job it is; it
# has no fallback of its own.
FIELD, DATA, OF = "pw_fallback", "pw_fallback_data", "pw_fallback_of"
# The error's name that a fallback is told of a run without an exception: its horse, worker or host died.
LOST = "poolwarden.Lost"


def job_for(failed: Job, rule: DeliveryRule, execution_id: str, error: str, task: str, timeout: int) -> Job:
    """The job, not stored yet; ``timeout`` in seconds.

    Its id follows from the failed job's and the run's; its arguments are plain text.
    """
    made: Job = Job.create(
        rule.fallback,
        connection=failed.connection,
        kwargs={"job_id": failed.id, "task": task, "queue": failed.origin, "error": error},
        id=f"fallback-{failed.id}-{execution_id[:8]}",
        origin=rule.fallback_queue or failed.origin,
        timeout=timeout,
        status=JobStatus.QUEUED,
        serializer=failed.serializer,
    )
    made.created_at = made.enqueued_at = now()
    return made


def enqueued(made: Job, failed_id: str, rq_prefix: str) -> list[tuple[Any, ...]]:
    """The writes that enqueue it, as rq does."""
    fields = [part for field in _fields(made, failed_id).items() for part in field]
    queue = f"{rq_prefix}:queue:{made.origin}"
    return [("SADD", f"{rq_prefix}:queues", queue), ("HSET", made.key, *fields), ("RPUSH", queue, made.id)]


def kept(made: Job, failed_id: str) -> dict[str, Any]:
    """The fields that tell lua/reap.lua what to enqueue."""
    fields = _fields(made, failed_id)
    data = fields.pop("data")
    told = {"id": made.id, "queue": made.origin, "fields": {name: str(value) for name, value in fields.items()}}
    return {FIELD: json.dumps(told), DATA: data}


def _fields(made: Job, failed_id: str) -> dict[str, Any]:
    return made.to_dict() | {"status": JobStatus.QUEUED.value, OF: failed_id}
