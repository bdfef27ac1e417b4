"""What a pool's policies do about a final failure: how long its dead letter is kept, and the task that runs instead."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from pools.broker.attempts import read_attempts
from pools.broker.connection import Broker
from pools.runtime.keys import Keys
from pools.runtime.reaper import Order, reap, reap_expired
from pools.runtime.retry_budget import SPENT
from pools.runtime.worker_config import Lost
from tests.runtime.holding import hold
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

MINE = ("pw_failure_ttl", "pw_fallback", "pw_fallback_data", "pw_fallback_of")
POLICIES = [
    {"task": "tasks.instead", "fallback": "tasks.instead"},
    {"task": "tasks.mark"},
    {"task": "tasks.*", "failure_ttl": 600, "fallback": "tasks.instead", "fallback_queue": "later"},
]
RETRY = [{"task": "tasks.fail", "max": 1, "backoff": 0, "cap": 0, "transient": ["ValueError"]}]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHost]:
    """Two pools, one that reads JSON. Nobody serves the queue of the first one's fallbacks."""
    folder = tmp_path_factory.mktemp("fallback")
    valkey = ValkeyServer(folder / "valkey", free_port())
    valkey.start()
    host = AgentHost(folder / "host", valkey)
    plain, api = new_uid(), new_uid()
    host.configure(plain, spec("mail", policies=[dict(POLICIES[2], fallback_queue="")], retry=RETRY))
    policies = [POLICIES[0], dict(POLICIES[2], fallback_queue="")]
    budget = {"percent": 1, "per_minute": 0}
    host.configure(api, spec("api", serializer="json", policies=policies, retry=RETRY, retry_budget=budget))
    host.start()
    host.wait_for_workers(plain, 1, others=1)
    yield host
    host.close()
    valkey.kill()


def ended(job: Job, status: str = "failed") -> Job:
    wait_for(lambda: job.get_status() == status, timeout=20, message=f"{job.id} is {status}")
    return job


def fallbacks(client: Any, job_id: str) -> list[bytes]:
    return sorted(client.keys(f"rq:job:fallback-{job_id}-*"))


def told(client: Any, key: bytes, serializer: Any = None) -> dict[str, Any]:
    """What the fallback is called with, and where."""
    job = Job.fetch(key.decode().removeprefix("rq:job:"), connection=client, serializer=serializer)
    return {"calls": job.func_name, "in": job.origin} | job.kwargs


def call(job: Job, error: str, place: str = "mail") -> dict[str, Any]:
    told = {"job_id": job.id, "task": job.func_name, "queue": "mail", "error": error}
    return {"calls": "tasks.instead", "in": place} | told


class TestWorkers:
    @pytest.fixture
    def queue(self, shared: AgentHost) -> Queue:
        return Queue("mail", connection=shared.valkey.client)

    def test_after_the_last_retry_it_is_called_once_with_what_failed(self, shared: AgentHost, queue: Queue) -> None:
        client: Any = queue.connection
        job = ended(queue.enqueue("tasks.fail", "ValueError"))
        assert len(job.results()) == 2, "not before the retries are used up"
        (key,) = fallbacks(client, job.id)
        assert told(client, key) == call(job, "ValueError")
        made = Job.fetch(key.decode().removeprefix("rq:job:"), connection=client)
        ended(made, "finished")
        assert made.return_value(refresh=True) == [job.id, "tasks.fail", "mail", "ValueError"]
        assert client.hget(key, "pw_fallback_of") == job.id.encode()
        assert client.hmget(job.key, MINE) == [None] * 4
        assert 570 < client.ttl(job.key) <= 600 and 570 < client.ttl(f"rq:results:{job.id}") <= 600
        runs = read_attempts(Broker("default", shared.valkey.url), job.id).runs
        assert [run.why for run in runs] == [f"Its fallback is job {made.id}. ValueError: broken", "ValueError: broken"]

    def test_a_requeued_dead_letter_that_fails_again_has_another(self, queue: Queue) -> None:
        job = ended(queue.enqueue("tasks.fail", "KeyError", failure_ttl=90))
        assert 60 < queue.connection.ttl(job.key) <= 90, "its own is first"
        FailedJobRegistry(queue=queue).requeue(job)
        wait_for(lambda: len(fallbacks(queue.connection, job.id)) == 2, message="once for each failure")
        ended(job)

    def test_successes_and_refusals_have_none(self, queue: Queue, shared: AgentHost) -> None:
        client = shared.valkey.client
        done = ended(queue.enqueue("tasks.add", 1, 1), "finished")
        api = Queue("api", connection=client, serializer=JSONSerializer)
        refused = Queue("api", connection=client).enqueue("tasks.add", 1, 1)
        wait_for(lambda: client.hget(refused.key, "status") == b"failed", message="it is refused")
        failed = ended(api.enqueue("tasks.fail"))
        (key,) = fallbacks(client, failed.id)
        assert told(client, key, JSONSerializer)["error"] == "ValueError"
        assert SPENT in failed.results()[0].exc_string
        assert fallbacks(client, done.id) == fallbacks(client, refused.id) == []
        assert client.hmget(done.key, MINE) == [None] * 4

    def test_a_fallback_that_fails_has_none(self, shared: AgentHost) -> None:
        client = shared.valkey.client
        api = Queue("api", connection=client, serializer=JSONSerializer)
        job = api.enqueue("tasks.fail", "KeyError", job_id="first")
        ended(job)
        (key,) = fallbacks(client, job.id)
        wait_for(lambda: client.hget(key, "status") == b"failed", message="it fails")
        assert fallbacks(client, key.decode().removeprefix("rq:job:")) == []

    def test_a_dead_horse_is_told_as_lost(self, shared: AgentHost, queue: Queue, tmp_path: Path) -> None:
        job, horse = hold(shared, tmp_path / "held")
        os.kill(horse, signal.SIGKILL)
        ended(job)
        (key,) = fallbacks(queue.connection, job.id)
        assert told(queue.connection, key)["error"] == "poolwarden.Lost"


@pytest.mark.parametrize("delivery", [{}, {"delivery": "at_least_once", "losses": 2}])
def test_a_killed_worker_leaves_one_fallback(host: AgentHost, tmp_path: Path, delivery: dict[str, Any]) -> None:
    uid, client = new_uid(), host.valkey.client
    host.configure(uid, spec(queues=["mail", "later"], policies=[POLICIES[2] | {"task": "tasks.hold"} | delivery]))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, _ = hold(host, tmp_path / "held")
    signal_worker(worker, signal.SIGKILL)
    if delivery:
        wait_for(lambda: client.hget(job.key, "pw_lost") == b"1", message="it was lost once")
        assert fallbacks(client, job.id) == []
        wait_for(lambda: (tmp_path / "held").read_text().count("\n") == 2, timeout=20, message="it runs again")
        wait_for(
            lambda: [w["pid"] for w in host.workers(uid)] not in ([], [worker["pid"]]), message="in another worker"
        )
        (worker,) = host.wait_for_workers(uid, 1)
        signal_worker(worker, signal.SIGKILL)
    ended(job)
    (key,) = fallbacks(client, job.id)
    assert told(client, key) == call(job, "poolwarden.Lost", "later")
    assert 570 < client.ttl(job.key) <= 600
    made = Job.fetch(key.decode().removeprefix("rq:job:"), connection=client)
    ended(made, "finished")
    assert f"Its fallback is job {made.id}." in read_attempts(Broker("default", host.valkey.url), job.id).runs[0].why


class TestReaper:
    """What lies in a job's hash, anybody may have written."""

    @pytest.mark.parametrize(
        "junk", ["", "{", "7", "[]", '{"fields": 3}', '{"id": [], "fields": {"a": {}}, "queue": 1}']
    )
    def test_junk_is_no_fallback_and_stops_nobody(self, valkey: ValkeyServer, junk: str) -> None:
        client: Any = valkey.client
        job = Queue("mail", connection=client).enqueue("tasks.add")
        client.lpop("rq:queue:mail")
        client.hset(job.key, mapping={"status": "started", "pw_fallback": junk, "pw_fallback_data": "x"})
        client.zadd("rq:wip:mail", {f"{job.id}:run": 1})
        client.zadd(f"rq:executions:{job.id}", {"run": 1})
        client.sadd("rq:worker:w:executions", f"{job.id}:run")
        assert reap(client, Keys(), Order(Lost("w", "gone"), "pool", 1, 60), {}) == {job.id: "unknown"}
        assert client.keys("rq:job:*") == [job.key.encode()] or client.keys("rq:job:*") == [job.key]

    def test_it_is_enqueued_once_whoever_decides(self, valkey: ValkeyServer) -> None:
        client: Any = valkey.client
        job = Queue("mail", connection=client).enqueue("tasks.add")
        client.lpop("rq:queue:mail")
        kept = {"id": "fallback-a", "queue": "later", "fields": {"origin": "later", "status": "queued"}}
        client.hset(job.key, mapping={"status": "started", "pw_fallback": json.dumps(kept), "pw_fallback_data": "x"})
        client.zadd("rq:wip:mail", {f"{job.id}:run": 1})
        client.zadd(f"rq:executions:{job.id}", {"run": 1})
        client.sadd("rq:worker:w:executions", f"{job.id}:run")
        order = Order(Lost("w", "gone"), "pool", 1, 60)
        assert reap_expired(client, Keys(), order, f"{job.id}:run".encode(), {}) == {job.id: "unknown"}
        assert reap(client, Keys(), order, {}) == {}
        assert client.lrange("rq:queue:later", 0, -1) == [b"fallback-a"]
        assert client.sismember("rq:queues", "rq:queue:later") and client.hget("rq:job:fallback-a", "data") == b"x"
