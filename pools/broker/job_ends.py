"""How requeued jobs are doing: one field of each record, raw; two round trips for a thousand jobs.

RQ 3.0 writes a job's status in the transaction that moves it between its registries, so the status says where the job
is. A record that is gone may have left an entry in a registry: the failed and the finished one name jobs until
somebody cleans up.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.moves import Jobs
from pools.broker.pipelines import Pipelines

LIMIT = 1000


class JobEnd(StrEnum):
    """``GONE``: neither a record nor a registry knows the job. ``CALLED_OFF``: somebody cancelled it before it ran."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CALLED_OFF = "called_off"
    GONE = "gone"


BY_STATUS = {
    "started": JobEnd.RUNNING,
    "finished": JobEnd.SUCCEEDED,
    "failed": JobEnd.FAILED,
    "stopped": JobEnd.FAILED,
    "canceled": JobEnd.CALLED_OFF,
    "": JobEnd.GONE,
}
"""Whatever else RQ calls a job (queued, deferred, scheduled for its retry, rate_limited …), it waits."""


def read_ends(broker: Broker, jobs: Jobs) -> list[JobEnd]:
    """What became of each (job id, queue), in the order given. Raises ValueError for more than ``LIMIT`` jobs,
    BrokerUnavailable."""
    if len(jobs) > LIMIT:
        raise ValueError(f"at most {LIMIT} jobs at a time")
    with broker.use() as client:
        pipelines = Pipelines(client)
        statuses = pipelines.run(("HGET", broker.rq.job(job_id), "status") for job_id, _ in jobs)
        ends = [BY_STATUS.get(fields.text(status, 20), JobEnd.WAITING) for status in statuses]
        gone = [place for place, end in enumerate(ends) if end == JobEnd.GONE]
        for place, end in zip(gone, _left_in_registries(broker, pipelines, [jobs[at] for at in gone]), strict=True):
            ends[place] = end
    return ends


def _left_in_registries(broker: Broker, pipelines: Pipelines, jobs: Jobs) -> list[JobEnd]:
    registries = (broker.rq.failed, broker.rq.finished)
    found = pipelines.run(("ZSCORE", registry(queue), job_id) for job_id, queue in jobs for registry in registries)
    return [_end(found[at : at + 2]) for at in range(0, len(found), 2)]


def _end(scores: Sequence[Any]) -> JobEnd:
    failed, finished = (isinstance(score, float) for score in scores)
    if failed:
        return JobEnd.FAILED
    return JobEnd.SUCCEEDED if finished else JobEnd.GONE
