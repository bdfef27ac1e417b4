"""Every run of a job that the broker still knows: who, where, by which config, when, how it ended and why."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker, BrokerUnavailable, get_broker
from pools.broker.failed_jobs import stored_traceback
from pools.broker.job_view import RESULT_COUNT, RESULT_TYPES
from pools.broker.pipelines import Command, Pipelines
from pools.broker.rq_keys import RqKeys
from pools.broker.tracebacks import parse_traceback, without_note
from pools.models import BrokerState

RUNNING = "running"
WHY_LIMIT = 300
RUNNING_LIMIT = 10
WORDS = {
    RUNNING: "running",
    "successful": "finished",
    "failed": "failed",
    "stopped": "stopped",
    "retried": "failed, to be run again",
    "max_retries_exceeded": "failed, asked for more retries than it has",
}


@dataclass(frozen=True)
class Attempt:
    """One run. ``number`` counts from 1; ``outcome`` is "running", "unknown" or one of ``RESULT_TYPES``.

    ``host`` and ``config`` (a version) are told by managed workers alone. ``why`` is the error's
    first line, and before it what the pool's policy did, or whose result it was given.
    """

    number: int
    outcome: str
    worker: str
    host: str
    config: int | None
    started_at: datetime | None
    ended_at: datetime | None
    why: str

    @property
    def took(self) -> float | None:
        """Seconds. Never negative: two hosts' clocks may differ."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max((self.ended_at - self.started_at).total_seconds(), 0.0)

    @property
    def said(self) -> str:
        return WORDS.get(self.outcome, "how it ended is not recorded")


@dataclass(frozen=True)
class Attempts:
    """``runs`` newest first; ``forgotten``: earlier ones, of which RQ keeps ten. ``status`` is RQ's, "" for no job.

    ``queue``: its own by its record, "" for no job. ``next_at``: when it runs again, of a job that waits for a retry.
    ``problem`` is a sentence when the broker is away.
    """

    runs: list[Attempt] = field(default_factory=list)
    forgotten: int = 0
    status: str = ""
    queue: str = ""
    next_at: datetime | None = None
    problem: str = ""


def attempts_of(alias: str, job_id: str) -> Attempts:
    """The runs of a job on the broker of this name; when that is away, a problem.

    It is not asked while the controller finds it away: a page must not wait for it.
    """
    try:
        broker = get_broker(alias)
        if BrokerState.objects.filter(alias=alias, reachable=False, sampled_at__isnull=False).exists():
            return Attempts(problem="The attempts cannot be read now: the broker cannot be reached.")
        return read_attempts(broker, job_id)
    except BrokerUnavailable as away:
        return Attempts(problem=f"The attempts cannot be read now: {away.why}.")


def read_attempts(broker: Broker, job_id: str) -> Attempts:
    """In two round trips, whatever the job's keys hold; of a job on a shelf too. Raises BrokerUnavailable."""
    rq = broker.rq
    with broker.use() as client:
        pipelines = Pipelines(client)
        facts, executions, *stored = pipelines.run(
            [
                ("HMGET", rq.job(job_id), "status", "origin"),
                ("ZREVRANGE", rq.executions(job_id), 0, RUNNING_LIMIT - 1),
                *_results(rq.results(job_id)),
                *_results(f"{broker.keys.shelf}:results:{job_id}"),
            ]
        )
        status, queue = (fields.text(value, 255) for value in (fields.listed(facts) or (None, None)))
        at, *running = pipelines.run(_running(rq, queue, job_id, fields.listed(executions)))
    results, about = stored[:2] if fields.listed(stored[0]) else stored[2:]
    ended = fields.listed(results)
    total = max(_added(about), len(ended))
    runs = [_ended(total - place, entry[1] or {}) for place, entry in enumerate(ended)]
    going = [_going(total + place, raw) for place, raw in enumerate(reversed(running), 1) if fields.listed(raw)]
    next_at = fields.unix_moment(at) if status == "scheduled" and at is not None else None
    return Attempts([*reversed(going), *runs], total - len(ended), status, queue, next_at)


def _results(key: str) -> list[Command]:
    return [("XREVRANGE", key, "+", "-", "COUNT", RESULT_COUNT), ("XINFO STREAM", key)]


def _running(rq: RqKeys, queue: str, job_id: str, executions: list[Any]) -> list[Command]:
    keys = [rq.execution(f"{job_id}:{fields.text(execution, 100)}") for execution in executions]
    return [("ZSCORE", rq.scheduled(queue), job_id), *(("HGETALL", key) for key in keys)]


def _added(about: Any) -> int:
    """How many entries a stream ever had, of those that were trimmed too."""
    return fields.count(about.get("entries-added")) if isinstance(about, dict) else 0


def _ended(number: int, raw: dict[bytes, bytes]) -> Attempt:
    printed = stored_traceback(raw)[0]
    note, failure = without_note(printed)
    raised = parse_traceback(failure)
    error = ": ".join(part for part in (raised.exc_type, raised.message) if part).partition("\n")[0]
    by = fields.text(raw.get(b"pw_answered"), 255)
    answered = f"It was not run: the result is that of job {by}, which has the same idempotency key." if by else ""
    other = fields.text(raw.get(b"pw_fallback"), 255)
    instead = f"Its fallback is job {other}." if other else ""
    why = " ".join(filter(None, (note, instead, error or answered)))
    outcome = RESULT_TYPES.get(fields.count(raw.get(b"type")), "unknown")
    return _attempt(number, outcome, raw, b"execution_started_at", why[:WHY_LIMIT])


def _going(number: int, raw: dict[bytes, bytes]) -> Attempt:
    return _attempt(number, RUNNING, raw, b"created_at", "")


def _attempt(number: int, outcome: str, raw: dict[bytes, bytes], started: bytes, why: str) -> Attempt:
    config = fields.count(raw.get(b"pw_config"))
    return Attempt(
        number=number,
        outcome=outcome,
        worker=fields.text(raw.get(b"worker_name"), 255),
        host=fields.text(raw.get(b"pw_host"), 255),
        config=config if 0 < config < 2**31 else None,
        started_at=fields.unix_moment(raw.get(started)),
        ended_at=fields.unix_moment(raw.get(b"execution_ended_at")),
        why=why,
    )
