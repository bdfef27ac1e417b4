"""One look at a broker: queues, workers and agents in three round trips, whatever their number.

Nothing here changes the broker: no MULTI, no registry clean-up, no job fetched, nothing unpickled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.gates import Watched, gate_commands, read_gates
from pools.broker.heartbeats import parse_heartbeats
from pools.broker.liveness import Liveness
from pools.broker.payload import called_function
from pools.broker.pipelines import Pipelines

WORKER_FIELDS = ["hostname", "pid", "queues", "state", "birth", "last_heartbeat", "version", "python_version"]
WORKER_FIELDS += ["successful_job_count", "failed_job_count", "total_working_time", "death"]
QUEUE_COMMANDS = 9


@dataclass(frozen=True)
class QueueSnapshot:
    """Counts are jobs; ``failed`` and ``finished`` leave out what has expired and RQ has not yet swept.

    ``oldest_enqueued_at`` is of the job that runs next.
    """

    name: str
    depth: int
    oldest_enqueued_at: datetime | None
    started: int
    failed: int
    deferred: int
    scheduled: int
    finished: int


@dataclass(frozen=True)
class WorkerSnapshot:
    """A worker as it described itself. ``working_time`` in seconds; ``connected`` as ``Liveness`` says."""

    name: str
    host: str
    pid: int | None
    queues: list[str]
    state: str
    current_job_id: str | None
    current_func: str | None
    current_started_at: datetime | None
    birth: datetime | None
    last_heartbeat: datetime | None
    rq_version: str
    python_version: str
    successful: int
    failed: int
    working_time: float
    connected: bool | None


@dataclass(frozen=True)
class Sample:
    """``at`` is the broker's clock (unix seconds). ``malformed_agents`` counts heartbeats that could not be read."""

    at: float
    queues: list[QueueSnapshot]
    workers: list[WorkerSnapshot]
    agents: list[dict[str, Any]]
    malformed_agents: int
    round_trips: int
    gates: dict[str, dict[str, Any]]


def take_sample(broker: Broker, watched: Sequence[Watched] = ()) -> Sample:
    """Look at the broker once, also at the breakers and limits of ``watched`` pools. Raises BrokerUnavailable."""
    with broker.use() as client:
        pipelines = Pipelines(client)
        first = pipelines.run(
            [
                ("TIME",),
                ("SMEMBERS", broker.rq.queues),
                ("SMEMBERS", broker.rq.workers),
                ("HGETALL", broker.keys.agents),
                *Liveness.commands(broker.rq),
            ]
        )
        if isinstance(first[0], redis.RedisError):
            raise first[0]
        at = first[0][0] + first[0][1] / 1_000_000
        queues = _names(first[1], broker.rq.queue(""))
        workers = _names(first[2], broker.rq.worker(""))
        asked = [*_queue_commands(broker, queues, at), *_worker_commands(broker, workers)]
        found = pipelines.run([*asked, *gate_commands(broker, watched)])
        split = len(queues) * QUEUE_COMMANDS
        per_queue = _chunks(found[:split], QUEUE_COMMANDS)
        per_worker = _chunks(found[split : len(asked)], 2)
        gates = read_gates(watched, iter(found[len(asked) :]), at)
        heads = [fields.text(answers[1]) for answers in per_queue]
        running = [_current(answers[1]) for answers in per_worker]
        third = pipelines.run([*_head_commands(broker, heads), *_running_commands(broker, running)])
    answers = iter(third)
    liveness = Liveness(at, broker.rq, first[4:])
    snapshots = [_queue(*row, answers) for row in zip(queues, heads, per_queue, strict=True)]
    snapshots.sort(key=lambda queue: queue.name)
    seen = [_worker(*row, liveness, answers) for row in zip(workers, running, per_worker, strict=True)]
    agents, malformed = parse_heartbeats(first[3])
    return Sample(
        at=at,
        queues=snapshots,
        workers=sorted((worker for worker in seen if worker), key=lambda worker: worker.name),
        agents=agents,
        malformed_agents=malformed,
        round_trips=pipelines.round_trips,
        gates=gates,
    )


def _names(members: Any, prefix: str) -> list[str]:
    """The names in a set of keys; a member that RQ cannot have written is left out."""
    keys = [fields.text(member) for member in fields.listed(members)]
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix) and key != prefix]


def _chunks(answers: list[Any], size: int) -> list[list[Any]]:
    return [answers[start : start + size] for start in range(0, len(answers), size)]


def _queue_commands(broker: Broker, names: list[str], at: float) -> Iterable[tuple[Any, ...]]:
    """``QUEUE_COMMANDS`` a queue. A failed job's score is when it expires; below 0 it never does."""
    rq = broker.rq
    for name in names:
        yield ("LLEN", rq.queue(name))
        yield ("LINDEX", rq.queue(name), 0)
        yield ("ZCARD", rq.started(name))
        yield ("ZCARD", rq.failed(name))
        yield ("ZCOUNT", rq.failed(name), 0, at)
        yield ("ZCARD", rq.deferred(name))
        yield ("ZCARD", rq.scheduled(name))
        yield ("ZCARD", rq.finished(name))
        yield ("ZCOUNT", rq.finished(name), 0, at)


def _worker_commands(broker: Broker, names: list[str]) -> Iterable[tuple[Any, ...]]:
    for name in names:
        yield ("HMGET", broker.rq.worker(name), *WORKER_FIELDS)
        yield ("SRANDMEMBER", broker.rq.worker_executions(name))


def _head_commands(broker: Broker, heads: list[str]) -> Iterable[tuple[Any, ...]]:
    return (("HGET", broker.rq.job(head), "enqueued_at") for head in heads if head)


def _running_commands(broker: Broker, running: list[str]) -> Iterable[tuple[Any, ...]]:
    for composite in running:
        if composite:
            yield ("HGET", broker.rq.execution(composite), "created_at")
            yield ("HGET", broker.rq.job(_job_id(composite)), "description")


def _current(member: Any) -> str:
    """``job id:execution id`` of what a worker runs, or nothing. Stock RQ runs one job at a time."""
    composite = fields.text(member)
    return composite if ":" in composite else ""


def _job_id(composite: str) -> str:
    return composite.rpartition(":")[0]


def _queue(name: str, head: str, found: list[Any], more: Iterable[Any]) -> QueueSnapshot:
    depth, _, started, failed, failed_expired, deferred, scheduled, finished, finished_expired = map(
        fields.count, found
    )
    return QueueSnapshot(
        name=name,
        depth=depth,
        oldest_enqueued_at=fields.moment(next(iter(more))) if head else None,
        started=started,
        failed=max(failed - failed_expired, 0),
        deferred=deferred,
        scheduled=scheduled,
        finished=max(finished - finished_expired, 0),
    )


def _worker(
    name: str, composite: str, found: list[Any], liveness: Liveness, more: Iterable[Any]
) -> WorkerSnapshot | None:
    """The worker, or None when its hash has expired or it said goodbye."""
    execution_started, description = (next(iter(more)), next(iter(more))) if composite else (None, None)
    values = dict(zip(WORKER_FIELDS, fields.listed(found[0]), strict=False))
    if values.get("birth") is None or values.get("death") is not None:
        return None
    birth = fields.moment(values["birth"])
    return WorkerSnapshot(
        name=name,
        host=fields.text(values["hostname"], 255),
        pid=fields.integer(values["pid"]),
        queues=[queue for queue in fields.text(values["queues"], 20_000).split(",") if queue],
        state=fields.text(values["state"], 20),
        current_job_id=_job_id(composite) or None,
        current_func=called_function(description) or None,
        current_started_at=fields.unix_moment(execution_started) if composite else None,
        birth=birth,
        last_heartbeat=fields.moment(values["last_heartbeat"]),
        rq_version=fields.text(values["version"], 50),
        python_version=fields.text(values["python_version"], 50).split(" ")[0],
        successful=fields.count(values["successful_job_count"]),
        failed=fields.count(values["failed_job_count"]),
        working_time=fields.seconds(values["total_working_time"]),
        connected=liveness.connected(name, birth),
    )
