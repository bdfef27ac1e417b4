"""What a requeue would skip, and why: the questions of ``lua/requeue.lua`` asked beforehand, changing nothing."""

from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.moves import Jobs, Outcome
from pools.broker.pipelines import Pipelines

LIMIT = 1000
QUESTIONS = 4


def foresee(broker: Broker, jobs: Jobs) -> list[Outcome]:
    """The outcome that a requeue would have now, for each (job id, queue), in the order given; one round trip.

    Raises ValueError for more than ``LIMIT`` jobs, BrokerUnavailable.
    """
    if len(jobs) > LIMIT:
        raise ValueError(f"at most {LIMIT} jobs at a time")
    commands = (
        command
        for job_id, queue in jobs
        for command in (
            ("HMGET", broker.rq.job(job_id), "status", "origin"),
            ("HEXISTS", broker.rq.job(job_id), "data"),
            ("EXISTS", broker.rq.job(job_id)),
            ("ZSCORE", broker.rq.failed(queue), job_id),
        )
    )
    with broker.use() as client:
        answers = Pipelines(client).run(commands)
    rows = (answers[at : at + QUESTIONS] for at in range(0, len(answers), QUESTIONS))
    return [_outcome(queue, *row) for (_, queue), row in zip(jobs, rows, strict=True)]


def _outcome(queue: str, record: Any, payload: Any, exists: Any, score: Any) -> Outcome:
    if not isinstance(record, list):
        return Outcome.DAMAGED
    status, origin = (fields.text(value, 255) for value in record)
    if not exists:
        return Outcome.GONE
    if not isinstance(score, float):
        return Outcome.NOT_FAILED
    if not status or origin != queue or not payload:
        return Outcome.DAMAGED
    return Outcome.REQUEUED if status in ("failed", "stopped") else Outcome.NOT_FAILED
