"""What one round of upkeep repairs when nobody is left to do it: a host that died with its agent and workers."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rq import Queue, Retry, Worker
from rq.job import Dependency, Job

from pools.broker.tracebacks import parse_traceback
from pools.runtime import startup
from pools.runtime.keys import Keys
from pools.runtime.refusals import Admission
from pools.runtime.retry_budget import RetryBudget
from pools.runtime.rules import PLAIN
from pools.runtime.sandbox.limits import Isolation
from pools.runtime.worker_config import Lost, SecretAccess, WorkerConfig
from tests.runtime.places import places
from tests.support.valkey import ValkeyServer


@pytest.fixture
def config(valkey: ValkeyServer, tmp_path: Path) -> WorkerConfig:
    """A round of upkeep for the queue ``mail`` that tidies and has no lost workers."""
    return WorkerConfig(
        purpose="upkeep",
        redis_url=valkey.url,
        worker="upkeep-1",
        agent="host-1",
        agent_pid=0,
        host="host",
        pool_uid="pool-uid",
        pool="pool",
        config=7,
        channel=str(tmp_path),
        bell=str(tmp_path / "bell"),
        preload=[],
        queues=["mail"],
        job_timeout=180,
        result_ttl=500,
        failure_ttl=3600,
        serializer="pickle",
        horse_jobs=1,
        admission=Admission(),
        retry=[],
        policies=[],
        isolation=Isolation("none", 1024, 3600, 1024, 64, 1024, [], []),
        job_user="",
        rules=PLAIN,
        retry_budget=RetryBudget(),
        secrets=SecretAccess({}, [], {}),
        lost=[],
        tidy=True,
    )


@pytest.fixture
def queue(valkey: ValkeyServer) -> Queue:
    return Queue("mail", connection=valkey.client)


def run(config: WorkerConfig) -> None:
    assert startup.keep_up(config) == 0


def started(client: Any, queue: Queue, name: str, **options: Any) -> Job:
    """A job in the middle of its run by worker ``name``, which then vanishes."""
    worker = Worker([queue], name=name, connection=client)
    worker.register_birth()
    job = queue.enqueue("tasks.add", **options)
    client.lrem(queue.key, 1, job.id)
    worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    return job


def test_expired_lease_becomes_a_dead_letter_with_its_event(config: WorkerConfig, queue: Queue) -> None:
    client: Any = queue.connection
    job = started(client, queue, "gone")
    client.zadd("rq:wip:mail", dict.fromkeys(client.zrange("rq:wip:mail", 0, -1), time.time() - 1))
    run(config)
    assert places(client, "mail", job.id) == ["failed"]
    ((_, fields),) = client.xrange(Keys().events)
    body = json.loads(fields[b"body"])
    assert (fields[b"type"], body["job_id"], body["config"]) == (b"job.failed", job.id, 7)
    assert not client.exists("rq:worker:upkeep-1"), "upkeep leaves no worker of its own behind"


def test_an_expired_lease_of_a_job_with_rqs_own_retry_is_an_attempt_with_its_cause(
    config: WorkerConfig, queue: Queue
) -> None:
    client: Any = queue.connection
    job = started(client, queue, "gone", retry=Retry(max=1))
    client.zadd("rq:wip:mail", dict.fromkeys(client.zrange("rq:wip:mail", 0, -1), time.time() - 1))
    run(config)
    assert places(client, "mail", job.id) == ["queue"]
    (result,) = job.results()
    assert (result.type.name, result.worker_name) == ("RETRIED", "gone")
    assert result.exc_string == "AbandonedJobError: Worker gone fell silent while it ran this job."
    assert parse_traceback(result.exc_string).exc_type == "AbandonedJobError"


@pytest.mark.parametrize("field", ["pw_once", "pw_fallback"])
def test_an_expired_lease_of_a_job_with_a_key_or_fallback_is_decided_as_other_losses(
    config: WorkerConfig, queue: Queue, field: str
) -> None:
    client: Any = queue.connection
    job = started(client, queue, "gone")
    key = f"{Keys().once(config.pool_uid)}:digest"
    told = {"id": "instead", "queue": "mail", "fields": {"origin": "mail", "status": "queued"}}
    client.hset(job.key, mapping={"pw_fallback": json.dumps(told), "pw_fallback_data": "x"})
    if field == "pw_once":
        client.hdel(job.key, "pw_fallback")
        client.hset(job.key, field, "digest")
        client.hset(key, mapping={"state": "running", "job": job.id, "worker": "gone", "keep": 60})
    client.zadd("rq:wip:mail", dict.fromkeys(client.zrange("rq:wip:mail", 0, -1), time.time() - 1))
    run(config)
    assert places(client, "mail", job.id) == ["failed"]
    if field == "pw_once":
        assert client.hget(key, "state") == b"unknown" and 0 < client.ttl(key) <= 60
    else:
        assert client.lrange(queue.key, 0, -1) == [b"instead"]


def test_claim_of_a_worker_that_is_gone_goes_back_to_its_queue(config: WorkerConfig, queue: Queue) -> None:
    client: Any = queue.connection
    job = queue.enqueue("tasks.add")
    client.lmove(queue.key, queue.intermediate_queue_key)
    client.hset(Keys().claims, "gone", f"{queue.key}\n{job.id}")
    run(config)
    assert places(client, "mail", job.id) == ["queue"]
    assert client.hlen(Keys().claims) == 0


def test_claim_of_a_live_worker_stays_however_long_it_takes(config: WorkerConfig, queue: Queue) -> None:
    client: Any = queue.connection
    job = queue.enqueue("tasks.add")
    client.lmove(queue.key, queue.intermediate_queue_key)
    client.hset(Keys().claims, "slow", f"{queue.key}\n{job.id}")
    client.hset("rq:worker:slow", "state", "idle")
    client.set(queue.intermediate_queue.get_first_seen_key(job.id), time.time() - 1000)
    run(config)
    assert places(client, "mail", job.id) == ["intermediate"]


def test_what_a_stock_worker_left_in_the_intermediate_list_is_failed_as_rq_does(
    config: WorkerConfig, queue: Queue
) -> None:
    client: Any = queue.connection
    job = queue.enqueue("tasks.add")
    client.lmove(queue.key, queue.intermediate_queue_key)
    client.set(queue.intermediate_queue.get_first_seen_key(job.id), time.time() - 1000)
    run(config)
    assert places(client, "mail", job.id) == ["failed"]


def test_lost_worker_between_registry_and_start_gives_its_job_back(config: WorkerConfig, queue: Queue) -> None:
    """Claimed and in the started registry, but its horse never marked it started."""
    client: Any = queue.connection
    job = queue.enqueue("tasks.add")
    client.lmove(queue.key, queue.intermediate_queue_key)
    client.hset(Keys().claims, "gone", f"{queue.key}\n{job.id}")
    worker = Worker([queue], name="gone", connection=client)
    worker.register_birth()
    worker.prepare_execution(job)
    assert places(client, "mail", job.id) == ["started", "intermediate"]
    run(replace(config, tidy=False, lost=[Lost("gone", "it was lost")]))
    assert places(client, "mail", job.id) == ["queue"]
    assert Worker.count(connection=client) == 0
    run(replace(config, tidy=False, lost=[Lost("gone", "it was lost")]))
    assert places(client, "mail", job.id) == ["queue"], "a second run changes nothing"


def test_lost_worker_frees_dependents_that_allow_failure(config: WorkerConfig, queue: Queue) -> None:
    client: Any = queue.connection
    job = started(client, queue, "gone")
    child = queue.enqueue("tasks.add", depends_on=Dependency(job, allow_failure=True))
    run(replace(config, tidy=False, lost=[Lost("gone", "it was lost")]))
    assert places(client, "mail", job.id) == ["failed"]
    assert places(client, "mail", child.id) == ["queue"]


def test_expired_lease_of_a_job_that_may_run_again_goes_back_to_its_queue(config: WorkerConfig, queue: Queue) -> None:
    """Everything was away, and rq's index of the worker's executions has expired with the worker."""
    client: Any = queue.connection
    job = started(client, queue, "gone")
    client.hset(job.key, "pw_redeliver", 3)
    client.zadd("rq:wip:mail", dict.fromkeys(client.zrange("rq:wip:mail", 0, -1), time.time() - 1))
    client.delete("rq:worker:gone", "rq:worker:gone:executions")
    run(config)
    assert places(client, "mail", job.id) == ["queue"]
    result = job.latest_result()
    assert result is not None and (result.worker_name, result.type.name) == ("gone", "RETRIED")
    assert client.keys(f"{Keys().reaper}*") == []


def test_damaged_worker_keeps_nothing_from_being_repaired(config: WorkerConfig, queue: Queue) -> None:
    client: Any = queue.connection
    held, expired = started(client, queue, "damaged"), started(client, queue, "gone")
    client.hset("rq:worker:damaged", "last_heartbeat", "soon")
    ends = [run for run in client.zrange("rq:wip:mail", 0, -1) if run.startswith(expired.id.encode())]
    client.zadd("rq:wip:mail", dict.fromkeys(ends, time.time() - 1))
    run(replace(config, lost=[Lost("damaged", "It was lost."), Lost("never-there", "It was lost.")]))
    assert [places(client, "mail", job.id) for job in (held, expired)] == [["failed"]] * 2


def test_damaged_job_does_not_keep_the_maintenance_lock(config: WorkerConfig, queue: Queue) -> None:
    client: Any = queue.connection
    client.hset("rq:job:damaged", mapping={"data": "x", "status": "started", "timeout": "soon"})
    client.zadd("rq:wip:mail", {"damaged:run": 1})
    run(config)
    assert not client.exists(queue.registry_cleaning_key)
