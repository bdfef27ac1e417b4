"""The pool's policy in real jobs: retries, ttls, serializer, damaged records, and the event of each dead letter."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rq import Queue, Retry
from rq.job import Job
from rq.results import Result
from rq.serializers import JSONSerializer

from pools.broker.attempts import read_attempts
from pools.broker.connection import Broker
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

RULE = {"task": "tasks.fail", "max": 2, "backoff": 1, "cap": 1, "jitter": 0, "transient": ["ValueError"]}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHost]:
    """One agent for this file, on a Valkey of its own: each test looks only at the jobs that it made."""
    folder = tmp_path_factory.mktemp("policy")
    valkey = ValkeyServer(folder / "valkey", free_port())
    valkey.start()
    host = AgentHost(folder / "host", valkey)
    mail, api = new_uid(), new_uid()
    host.configure(mail, spec("mail", retry=[RULE], failure_ttl=3600, result_ttl=120))
    host.configure(api, spec("api", serializer="json"))
    host.start()
    host.wait_for_workers(mail, 1, others=1)
    yield host
    host.close()
    valkey.kill()


@pytest.fixture
def queue(host: AgentHost) -> Queue:
    """Its pool retries ValueErrors of tasks.fail twice."""
    return Queue("mail", connection=host.valkey.client)


def _events(host: AgentHost, *jobs: str) -> list[str]:
    return [event["job_id"] for event in host.events("job.failed") if event["job_id"] in jobs]


def _ended(job: Job, status: str = "failed", timeout: float = 15) -> None:
    wait_for(lambda: job.get_status() == status, timeout=timeout, message=f"{job.id} is {status}")


def test_transient_errors_are_retried_and_then_become_a_dead_letter(host: AgentHost, queue: Queue) -> None:
    job = queue.enqueue("tasks.fail", "ValueError", "of the third kind")
    wait_for(lambda: places(host.valkey.client, "mail", job.id) == ["scheduled"], message="a retry is scheduled")
    _ended(job)
    results = job.results()
    assert [result.type for result in results] == [Result.Type.FAILED, Result.Type.RETRIED, Result.Type.RETRIED]
    assert all("of the third kind" in (result.exc_string or "") for result in results)
    assert _events(host, job.id) == [job.id]
    assert places(host.valkey.client, "mail", job.id) == ["failed"]


def test_every_attempt_says_who_where_config_why_and_how_long(host: AgentHost, queue: Queue) -> None:
    job, done = queue.enqueue("tasks.fail", "ValueError", "again"), queue.enqueue("tasks.add", 1, 1)
    _ended(job)
    _ended(done, "finished")
    broker = Broker("default", host.valkey.url)
    runs = read_attempts(broker, job.id).runs
    assert [(run.number, run.outcome, run.why) for run in runs] == [
        (3, "failed", "ValueError: again"),
        (2, "retried", "ValueError: again"),
        (1, "retried", "ValueError: again"),
    ]
    for run in [*runs, *read_attempts(broker, done.id).runs]:
        assert (run.host, run.config) == (socket.gethostname(), 1)
        assert run.worker.startswith("pool-host-1-") and run.took is not None and run.started_at


def test_other_errors_and_other_tasks_fail_at_once(host: AgentHost, queue: Queue) -> None:
    job = queue.enqueue("tasks.fail", "KeyError")
    other = queue.enqueue("tasks.nowhere")
    _ended(job)
    _ended(other)
    assert len(job.results()) == 1
    assert _events(host, job.id, other.id) == [job.id, other.id]


def test_a_jobs_own_retry_wins_over_the_policy(host: AgentHost, queue: Queue) -> None:
    own = queue.enqueue("tasks.fail", "KeyError", retry=Retry(max=1))
    _ended(own)
    assert len(own.results()) == 2
    assert own.retries_left == 1, "the producer's object"
    assert Job.fetch(own.id, connection=host.valkey.client).retries_left == 0


def test_ttls_of_the_spec_apply_where_the_job_has_none(host: AgentHost, queue: Queue) -> None:
    client = host.valkey.client
    failed, kept = queue.enqueue("tasks.fail", "KeyError"), queue.enqueue("tasks.fail", "KeyError", failure_ttl=9000)
    done, brief = queue.enqueue("tasks.add", 1, 1), queue.enqueue("tasks.add", 1, 1, result_ttl=60)
    _ended(failed)
    _ended(kept)
    _ended(done, "finished")
    _ended(brief, "finished")
    for job, seconds in ((failed, 3600), (kept, 9000), (done, 120), (brief, 60)):
        assert seconds - 30 < client.ttl(f"rq:job:{job.id}") <= seconds
        assert seconds - 30 < client.ttl(f"rq:results:{job.id}") <= seconds
    score = client.zscore("rq:failed:mail", failed.id)
    assert score is not None
    assert abs(score - time.time() - 3600) < 60
    assert client.hget(f"rq:job:{failed.id}", "failure_ttl") is None, "a default is not written into the job"


def test_damaged_records_become_dead_letters_and_the_worker_goes_on(host: AgentHost, queue: Queue) -> None:
    client = host.valkey.client
    client.hset("rq:job:damaged", mapping={"data": "x", "status": "queued", "origin": "mail", "timeout": "soon"})
    client.rpush("rq:queue:mail", "damaged", b"\xff\xfe not a job", "no:such:job")
    after = queue.enqueue("tasks.add", 1, 1)
    _ended(after, "finished")
    assert client.hget("rq:job:damaged", "status") == b"failed"
    assert places(client, "mail", "damaged") == ["failed"]
    assert _events(host, "damaged") == ["damaged"]
    assert client.lrange("rq:queue:mail:intermediate", 0, -1) == []
    assert client.hlen(host.keys.claims) == 0
    assert host.events("worker.lost") == []


def test_timeout_is_a_dead_letter_with_an_event(host: AgentHost, queue: Queue, tmp_path: Any) -> None:
    job = queue.enqueue("tasks.hold", str(tmp_path / "held"), job_timeout=1)
    _ended(job)
    assert "JobTimeoutException" in (job.latest_result().exc_string or "")
    assert _events(host, job.id) == [job.id]


def test_json_pool_never_unpickles(host: AgentHost, tmp_path: Any) -> None:
    marker, client = tmp_path / "unpickled", host.valkey.client
    plain = Queue("api", connection=client, serializer=JSONSerializer).enqueue("tasks.add", 1, 2)
    hostile = Queue("api", connection=client).enqueue("tasks.add", Bomb(str(marker)), 1)
    _ended(plain, "finished")
    wait_for(lambda: client.hget(f"rq:job:{hostile.id}", "status") == b"failed", message="refused")
    assert not marker.exists()


class Bomb:
    """Its unpickling creates a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.path, "w")
