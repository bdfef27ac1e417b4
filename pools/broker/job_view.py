"""Everything safe there is to know of one job, for the loops and console jobs that store it. No page calls this."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.payload import PAYLOAD_LIMIT, called_function, serializer_of
from pools.broker.pipelines import Command, Pipelines
from pools.broker.rq_keys import RqKeys

JOB_FIELDS = ["status", "origin", "description", "created_at", "enqueued_at", "started_at", "ended_at", "timeout"]
JOB_FIELDS += ["worker_name", "group_id", "retries_left", "rate_limit_key"]
RESULT_TYPES = {1: "successful", 2: "failed", 3: "stopped", 4: "retried", 5: "max_retries_exceeded"}
PLACES = ["queue", "intermediate", "failed", "finished", "deferred", "scheduled", "canceled", "ready"]
RESULT_COUNT = 10
LIST_SCAN = 100_000
"""How far into a queue a job is looked for; beyond that the broker would be held up."""


@dataclass(frozen=True)
class ResultTimes:
    """One run's end. ``type`` is one of ``RESULT_TYPES`` or "unknown"; the returned value is never read."""

    at: datetime | None
    type: str
    worker: str
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class JobFacts:
    """``places``: where RQ keeps the job now: queue, intermediate, running or other ``PLACES``; in none it is lost.

    ``position`` counts from 0, the next to run. Times are UTC, ``timeout`` in seconds, ``size`` the stored payload's
    bytes, ``serializer`` a guess from its first byte. ``results`` newest first, at most 10.
    """

    job_id: str
    status: str
    queue: str
    func: str
    created_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    timeout: int | None
    worker: str
    group_id: str
    retries_left: int | None
    rate_limit: str
    size: int
    serializer: str
    places: list[str]
    position: int | None
    dependents: int
    dependencies: int
    results: list[ResultTimes] = field(default_factory=list)


def job_facts(broker: Broker, job_id: str) -> JobFacts | None:
    """The job's facts in at most three round trips, or None when there is no such job. Raises BrokerUnavailable."""
    with broker.use() as client:
        pipelines = Pipelines(client)
        answers = pipelines.run(_record_commands(broker.rq, job_id))
        raw, size = answers[1], fields.count(answers[3])
        if not isinstance(raw, list) or all(value is None for value in raw):
            return None
        values = dict(zip(JOB_FIELDS, raw, strict=True))
        queue = fields.text(values["origin"], 255)
        found = pipelines.run(_place_commands(broker.rq, queue, job_id))
        payload = pipelines.run([("HGET", broker.rq.job(job_id), "data")])[0] if 0 < size <= PAYLOAD_LIMIT else None
    return _facts(job_id, values, answers, found, payload)


def _record_commands(rq: RqKeys, job_id: str) -> list[Command]:
    return [
        ("TIME",),
        ("HMGET", rq.job(job_id), *JOB_FIELDS),
        ("PTTL", rq.job(job_id)),
        ("HSTRLEN", rq.job(job_id), "data"),
        ("XREVRANGE", rq.results(job_id), "+", "-", "COUNT", RESULT_COUNT),
        ("ZCARD", rq.executions(job_id)),
        ("SCARD", rq.dependents(job_id)),
        ("SCARD", rq.dependencies(job_id)),
    ]


def _place_commands(rq: RqKeys, queue: str, job_id: str) -> list[Command]:
    lists = [rq.queue(queue), rq.intermediate(queue)]
    registries = [rq.failed, rq.finished, rq.deferred, rq.scheduled, rq.canceled, rq.ready]
    commands: list[Command] = [("LPOS", key, job_id, "MAXLEN", LIST_SCAN) for key in lists]
    return commands + [("ZSCORE", registry(queue), job_id) for registry in registries]


def _facts(job_id: str, values: dict[str, Any], answers: list[Any], found: list[Any], payload: Any) -> JobFacts:
    (seconds, _), _, left, size, results, running, dependents, dependencies = answers
    places = [place for place, seen in zip(PLACES, found, strict=True) if isinstance(seen, int | float)]
    return JobFacts(
        job_id=job_id,
        status=fields.text(values["status"], 20),
        queue=fields.text(values["origin"], 255),
        func=called_function(values["description"], payload),
        created_at=fields.moment(values["created_at"]),
        enqueued_at=fields.moment(values["enqueued_at"]),
        started_at=fields.moment(values["started_at"]),
        ended_at=fields.moment(values["ended_at"]),
        expires_at=_after(seconds, fields.integer(left)),
        timeout=fields.integer(values["timeout"]),
        worker=fields.text(values["worker_name"], 255),
        group_id=fields.text(values["group_id"], 255),
        retries_left=fields.integer(values["retries_left"]),
        rate_limit=fields.text(values["rate_limit_key"], 255),
        size=fields.count(size),
        serializer=serializer_of(payload),
        places=places + (["running"] if fields.count(running) else []),
        position=found[0] if isinstance(found[0], int) else None,
        dependents=fields.count(dependents),
        dependencies=fields.count(dependencies),
        results=[_result(result_id, raw or {}) for result_id, raw in fields.listed(results)],
    )


def _after(now: int, milliseconds: int | None) -> datetime | None:
    if milliseconds is None or milliseconds < 0:
        return None
    return datetime.fromtimestamp(now, UTC) + timedelta(milliseconds=milliseconds)


def _result(result_id: Any, raw: dict[bytes, bytes]) -> ResultTimes:
    return ResultTimes(
        at=fields.stream_moment(result_id),
        type=RESULT_TYPES.get(fields.count(raw.get(b"type")), "unknown"),
        worker=fields.text(raw.get(b"worker_name"), 255),
        started_at=fields.unix_moment(raw.get(b"execution_started_at")),
        ended_at=fields.unix_moment(raw.get(b"execution_ended_at")),
    )
