"""What a requeue would skip, and why: the questions of ``lua/requeueing.lua`` asked beforehand, changing nothing."""

import json
from collections.abc import Sequence
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.moves import Jobs, Outcome
from pools.broker.pipelines import Pipelines

LIMIT = 1000
QUESTIONS = 4


def foresee(broker: Broker, jobs: Jobs, *, orphans_stay: bool = False) -> list[Outcome]:
    """The outcome that a requeue would have now, for each (job id, queue), in the order given; at most two round trips.

    Raises ValueError for more than ``LIMIT`` jobs, BrokerUnavailable.
    """
    if len(jobs) > LIMIT:
        raise ValueError(f"at most {LIMIT} jobs at a time")
    commands = (
        command
        for job_id, queue in jobs
        for command in (
            ("HMGET", broker.rq.job(job_id), "status", "origin", "dependency_ids", "dependency_id"),
            ("HEXISTS", broker.rq.job(job_id), "data"),
            ("EXISTS", broker.rq.job(job_id)),
            ("ZSCORE", broker.rq.failed(queue), job_id),
        )
    )
    with broker.use() as client:
        pipelines = Pipelines(client)
        answers = pipelines.run(commands)
        rows = [answers[at : at + QUESTIONS] for at in range(0, len(answers), QUESTIONS)]
        found = [_outcome(queue, *row) for (_, queue), row in zip(jobs, rows, strict=True)]
        needed = [
            _needed(row[0]) if orphans_stay and outcome == Outcome.REQUEUED else []
            for outcome, row in zip(found, rows, strict=True)
        ]
        ids = sorted(set().union(*needed))
        there = pipelines.run(("EXISTS", broker.rq.job(job_id)) for job_id in ids)
    gone = {job_id for job_id, exists in zip(ids, there, strict=True) if not exists}
    return [
        outcome if gone.isdisjoint(others) else Outcome.ORPHANED for outcome, others in zip(found, needed, strict=True)
    ]


def _needed(record: Sequence[Any]) -> list[str]:
    """The ids of the jobs that it depends on: in a JSON list, before RQ 1.0 in a field for the only one."""
    lists, one = (fields.text(value, 100_000) for value in record[2:])
    try:
        ids = json.loads(lists or "[]")
    except ValueError:
        ids = []
    return [str(job_id) for job_id in ids] if isinstance(ids, list) and ids else [one] * bool(one)


def _outcome(queue: str, record: Any, payload: Any, exists: Any, score: Any) -> Outcome:
    if not isinstance(record, list):
        return Outcome.DAMAGED
    status, origin = (fields.text(value, 255) for value in record[:2])
    if not exists:
        return Outcome.GONE
    if not isinstance(score, float):
        return Outcome.NOT_FAILED
    if not status or origin != queue or not payload:
        return Outcome.DAMAGED
    return Outcome.REQUEUED if status in ("failed", "stopped") else Outcome.NOT_FAILED
