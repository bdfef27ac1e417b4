"""One job's facts, in every state RQ knows, against RQ's own words."""

import pickle
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from rq import Queue, Retry
from rq.executions import Execution
from rq.job import Job
from rq.rate_limit import RateLimit

from pools.broker.connection import Broker
from pools.broker.job_view import JobFacts, job_facts
from tests.broker import jobs
from tests.broker.commands import counted
from tests.broker.conftest import Work
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.support.valkey import ValkeyServer


def facts(broker: Broker, job_id: str = "one") -> JobFacts:
    found = job_facts(broker, job_id)
    assert found
    return found


def fail(queue: Queue, work: Work) -> None:
    queue.enqueue(jobs.fails, job_id="one")
    work()


def finish(queue: Queue, work: Work) -> None:
    queue.enqueue(jobs.succeeds, job_id="one")
    work()


def defer(queue: Queue, work: Work) -> None:
    queue.enqueue(jobs.succeeds, job_id="one", depends_on=queue.enqueue(jobs.succeeds))


def cancel(queue: Queue, work: Work) -> None:
    queue.enqueue(jobs.succeeds, job_id="one").cancel()


def run(queue: Queue, work: Work) -> None:
    job = queue.enqueue(jobs.succeeds, job_id="one")
    queue.connection.delete(queue.key)
    with queue.connection.pipeline() as pipeline:
        Execution.create(job, 60, pipeline, "w1")
        job.prepare_for_execution("w1", pipeline)
        pipeline.execute()


STATES: list[tuple[Callable[[Queue, Work], object], str, list[str]]] = [
    (lambda queue, work: queue.enqueue(jobs.succeeds, job_id="one"), "queued", ["queue"]),
    (fail, "failed", ["failed"]),
    (finish, "finished", ["finished"]),
    (defer, "deferred", ["deferred"]),
    (cancel, "canceled", ["canceled"]),
    (lambda queue, work: queue.enqueue_in(timedelta(hours=1), jobs.succeeds, job_id="one"), "scheduled", ["scheduled"]),
    (run, "started", ["running"]),
]


@pytest.mark.parametrize(("prepare", "status", "places"), STATES, ids=[status for _, status, _ in STATES])
def test_every_state_and_its_place(
    broker: Broker, client: redis.Redis, valkey: ValkeyServer, work: Work,
    prepare: Callable[[Queue, Work], object], status: str, places: list[str],
) -> None:  # fmt: skip
    prepare(Queue("mail", connection=client), work)
    job, before = Job.fetch("one", connection=client), dump(client)
    counts = counted(valkey, lambda: job_facts(broker, "one"))
    found = facts(broker)
    assert (found.status, found.places, found.queue) == (status, places, "mail")
    assert (found.created_at, found.enqueued_at, found.started_at) == (job.created_at, job.enqueued_at, job.started_at)
    assert (found.ended_at, found.worker) == (job.ended_at, job.worker_name or "")
    assert found.func == job.func_name
    assert dump(client) == before
    assert sum(counts.values()) <= 18


def test_the_details(broker: Broker, client: redis.Redis, work: Work) -> None:
    queue = Queue("mail", connection=client, serializer="json")
    parent = queue.enqueue(jobs.succeeds, job_id="parent")
    queue.enqueue(jobs.succeeds, job_id="first")
    queue.enqueue(
        jobs.fails, job_id="one", job_timeout=44, retry=Retry(max=2), rate_limit=RateLimit("api", 3), depends_on=parent
    )
    queue.enqueue(jobs.succeeds, job_id="child", depends_on=["one"])
    found = facts(broker)
    assert (found.timeout, found.retries_left, found.rate_limit, found.serializer) == (44, 2, "api", "json")
    assert (found.dependents, found.dependencies, found.expires_at) == (1, 1, None)
    assert (facts(broker, "first").position, facts(broker, "parent").position) == (1, 0)


def test_results_are_listed_newest_first_without_their_values(
    broker: Broker, client: redis.Redis, work: Work, tmp_path: Path
) -> None:
    trap = tmp_path / "unpickled"
    payload = zlib.compress(pickle.dumps(("shop.mail.send", None, (jobs.Marker(str(trap)),), {})))
    Queue("mail", connection=client).enqueue(jobs.fails, job_id="one", retry=Retry(max=1))
    work()
    client.xadd("rq:results:one", {"type": 1, "return_value": payload, "worker_name": b"\xff\x00w"})
    client.hset("rq:job:one", mapping={"data": payload, "meta": payload, "description": "no call"})
    found = facts(broker)
    assert [result.type for result in found.results] == ["successful", "failed"]
    assert found.results[0].worker == "\ufffdw"
    ended, started = found.results[1].ended_at, found.results[1].started_at
    assert ended
    assert started
    assert started <= ended
    assert (found.func, found.serializer) == ("shop.mail.send", "pickle")
    assert not trap.exists()


def test_no_such_job_and_no_job_at_all(broker: Broker, client: redis.Redis) -> None:
    client.set("rq:job:text", "text")
    assert job_facts(broker, "one") is None
    assert job_facts(broker, "text") is None


def test_a_lost_job_is_in_no_place(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", status="queued")
    client.zrem("rq:failed:mail", "one")
    assert facts(broker).places == []
