"""One look at brokers large, hostile and live; and that looking changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue, SimpleWorker
from rq.utils import utcformat

from pools.broker.connection import Broker
from pools.broker.sampler import Sample, WorkerSnapshot, take_sample
from tests.broker import jobs
from tests.broker.commands import counted
from tests.broker.conftest import Work
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)

type StartWorker = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start_worker(request: pytest.FixtureRequest) -> Iterator[StartWorker]:
    """Start stock ``rq worker`` processes."""
    started: list[subprocess.Popen[bytes]] = []

    def start(server: ValkeyServer, name: str, *more: str) -> subprocess.Popen[bytes]:
        rq = Path(sys.executable).with_name("rq")
        command = [str(rq), "worker", "--url", server.url, "--name", name, *more, "mail", "bulk"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait(timeout=10)


def found(sample: Sample, name: str) -> WorkerSnapshot | None:
    return next((worker for worker in sample.workers if worker.name == name), None)


def seen(broker: Broker, name: str, state: str = "idle") -> WorkerSnapshot:
    def look() -> WorkerSnapshot | None:
        worker = found(take_sample(broker), name)
        return worker if worker and worker.state == state else None

    return wait_for(look, timeout=30, message=f"{name} is {state}")  # type: ignore[return-value]


def write_workers(client: redis.Redis, count: int, **changed: Any) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        name = f"w-{number:04d}"
        record = {"birth": utcformat(NOW), "last_heartbeat": utcformat(NOW), "queues": "mail,bulk", "pid": 7}
        record |= {"hostname": "host", "version": "3.0.0", "python_version": "3.13.1 (main)", "state": "idle"}
        pipeline.hset(f"rq:worker:{name}", mapping=record | changed)
        pipeline.sadd("rq:workers", f"rq:worker:{name}")
    pipeline.execute()


def test_an_empty_broker(broker: Broker) -> None:
    sample = take_sample(broker)
    assert (sample.queues, sample.workers, sample.agents, sample.malformed_agents) == ([], [], [], 0)
    assert abs(sample.at - time.time()) < 5
    assert sample.round_trips == 1


def test_counts_are_those_of_rq(broker: Broker, client: redis.Redis, work: Work) -> None:
    queue = Queue("mail", connection=client)
    queue.enqueue(jobs.fails)
    queue.enqueue(jobs.succeeds)
    work()
    oldest = queue.enqueue(jobs.succeeds)
    queue.enqueue(jobs.succeeds, depends_on=oldest)
    queue.enqueue(jobs.succeeds)
    queue.enqueue_in(timedelta(hours=1), jobs.succeeds)
    [snapshot] = take_sample(broker).queues
    assert (snapshot.name, snapshot.depth, snapshot.started, snapshot.failed) == ("mail", 2, 0, 1)
    assert (snapshot.deferred, snapshot.scheduled, snapshot.finished) == (1, 1, 1)
    assert snapshot.oldest_enqueued_at == oldest.enqueued_at


def test_what_has_expired_is_not_counted(broker: Broker, client: redis.Redis) -> None:
    """RQ sweeps its registries only when maintenance runs; until then they name jobs that are gone."""
    write_failed(client, "one", "two", "three")
    client.zadd("rq:failed:mail", {"one": time.time() - 5, "two": -1})
    client.zadd("rq:finished:mail", {"a": time.time() - 5, "b": time.time() + 60})
    [snapshot] = take_sample(broker).queues
    assert (snapshot.failed, snapshot.finished) == (2, 1)


def test_500_queues_and_1000_workers_take_three_round_trips(broker: Broker, client: redis.Redis) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(500):
        pipeline.sadd("rq:queues", f"rq:queue:q{number:03d}")
        pipeline.rpush(f"rq:queue:q{number:03d}", f"job-{number}")
        pipeline.hset(f"rq:job:job-{number}", mapping={"enqueued_at": utcformat(NOW - timedelta(seconds=number))})
    pipeline.execute()
    write_workers(client, 1000)
    client.sadd("rq:worker:w-0042:executions", "job-7:e1")
    client.hset("rq:execution:job-7:e1", "created_at", NOW.timestamp())
    client.hset("rq:job:job-7", "description", "shop.mail.send('secret', to='bob@example.org')")
    sample = take_sample(broker)
    assert sample.round_trips <= 5
    assert (len(sample.queues), len(sample.workers)) == (500, 1000)
    assert [queue.oldest_enqueued_at for queue in sample.queues] == [NOW - timedelta(seconds=n) for n in range(500)]
    busy = found(sample, "w-0042")
    assert busy
    assert (busy.current_job_id, busy.current_func, busy.current_started_at) == ("job-7", "shop.mail.send", NOW)
    assert [worker.name for worker in sample.workers if worker.current_job_id] == ["w-0042"]
    assert (busy.rq_version, busy.python_version, busy.queues, busy.pid) == ("3.0.0", "3.13.1", ["mail", "bulk"], 7)


def test_looking_changes_nothing_and_uses_no_transaction(
    broker: Broker, client: redis.Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Expired entries, which RQ's own counting would sweep (running callbacks), and a payload that must not run."""
    write_failed(client, "one", data=zlib.compress(b"\x80\x05junk"))
    client.zadd("rq:failed:mail", {"one": 1})
    client.zadd("rq:wip:mail", {"one:e1": 1})
    write_workers(client, 3)
    client.rpush("rq:queue:mail", "one", "never")
    before = dump(client)
    commands = counted(valkey, lambda: take_sample(broker))
    assert dump(client) == before
    assert set(commands) <= {
        "time", "smembers", "hgetall", "client|list", "pubsub|channels", "llen", "lindex", "zcard", "zcount", "hmget",
        "srandmember", "hget",
    }  # fmt: skip


def test_hostile_records_hide_nobody_else(broker: Broker, client: redis.Redis) -> None:
    write_workers(client, 2)
    client.hset(
        "rq:worker:w-0000",
        mapping={"birth": "tomorrow", "pid": "x", "total_working_time": "nan", "queues": b"\xff\x00,a"},
    )
    client.sadd("rq:workers", "rq:worker:gone", "rq:worker:text", "other:thing", "rq:worker:", b"\xff\xfe")
    client.set("rq:worker:text", "not a hash")
    client.sadd("rq:queues", "rq:queue:mail", "rq:queue:text", "nonsense", "rq:queue:")
    client.set("rq:queue:text", "not a list")
    client.set("rq:failed:mail", "not a set")
    client.rpush("rq:queue:mail", "gone")
    client.set("rq:worker:w-0001:executions", "not a set")
    sample = take_sample(broker)
    assert [worker.name for worker in sample.workers] == ["w-0000", "w-0001"]
    assert (sample.workers[0].birth, sample.workers[0].pid, sample.workers[0].working_time) == (None, None, 0.0)
    assert sample.workers[0].queues == ["\ufffd", "a"]
    assert [(queue.name, queue.depth, queue.failed, queue.oldest_enqueued_at) for queue in sample.queues] == [
        ("mail", 1, 0, None),
        ("text", 0, 0, None),
    ]


def test_heartbeats_are_parsed_and_broken_ones_counted(broker: Broker, client: redis.Redis) -> None:
    heartbeat = {
        "v": 1,
        "agent": "a1",
        "host": "h",
        "pid": 1,
        "boot": "b",
        "seq": 1,
        "at": 1.5,
        "pools": [],
        "workers": [],
    }
    broken: dict[str, bytes] = {
        "a2": b"{", "a3": b"[]", "a4": json.dumps(heartbeat).encode(), "a5": b"\xff", "a6": b"[" * 100_000,
        "a7": json.dumps(heartbeat | {"agent": "a7", "pools": "none"}).encode(),
        "a8": json.dumps(heartbeat | {"agent": "a8", "at": None}).encode(),
        "a9": json.dumps(heartbeat | {"agent": "a9", "pools": [1]}).encode(),
    }  # fmt: skip
    client.hset("pw:agents", mapping={"a1": json.dumps(heartbeat), **broken})
    sample = take_sample(broker)
    assert sample.agents == [heartbeat]
    assert sample.malformed_agents == len(broken)


def test_a_prefix_of_its_own(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    write_failed(client, "one", "two", queue="eu", prefix="acme")
    sample = take_sample(Broker("other", broker.url, prefix="acme"))
    assert [(queue.name, queue.failed) for queue in sample.queues] == [("eu", 2)]


def test_a_user_who_may_only_read_sees_all_but_connections(valkey: ValkeyServer, client: redis.Redis) -> None:
    write_workers(client, 1)
    commands = ["+@read", "+time", "+select", "-info"]
    valkey.client.acl_setuser(
        "reader", enabled=True, nopass=True, keys=["%R~rq:*", "%R~pw:*"], commands=commands, reset=True
    )
    sample = take_sample(Broker("reader", f"redis://reader:x@127.0.0.1:{valkey.port}/0"))
    assert [(worker.name, worker.connected) for worker in sample.workers] == [("w-0000", None)]


def test_a_killed_idle_worker_is_gone_at_once(broker: Broker, valkey: ValkeyServer, start_worker: StartWorker) -> None:
    wait_for(lambda: valkey.client.info("server")["uptime_in_seconds"] > 1, message="workers of before are told apart")
    killed, stays = start_worker(valkey, "killed"), start_worker(valkey, "stays")
    for name in ("killed", "stays"):
        worker = seen(broker, name)
        assert worker.connected is True
        assert worker.queues == ["mail", "bulk"]
        assert (worker.current_job_id, worker.rq_version) == (None, "3.0.0")
    killed.kill()
    killed.wait(timeout=10)
    wait_for(lambda: seen(broker, "killed").connected is False, timeout=10, message="the killed worker is seen as gone")
    assert seen(broker, "stays").connected is True
    stays.send_signal(signal.SIGTERM)
    stays.wait(timeout=20)
    assert found(take_sample(broker), "stays") is None, "one that says goodbye leaves the list"


def test_a_busy_worker_shows_its_job_and_is_gone_soon_after_a_kill(
    broker: Broker, client: redis.Redis, valkey: ValkeyServer, start_worker: StartWorker, tmp_path: Path
) -> None:
    wait_for(lambda: client.info("server")["uptime_in_seconds"] > 1, message="workers of before are told apart")
    release = tmp_path / "release"
    process = start_worker(valkey, "busy")
    seen(broker, "busy")
    job = Queue("mail", connection=client).enqueue(jobs.waits_for, str(release))
    worker = seen(broker, "busy", "busy")
    assert (worker.current_job_id, worker.current_func) == (job.id, "tests.broker.jobs.waits_for")
    assert worker.current_started_at
    assert abs(worker.current_started_at.timestamp() - time.time()) < 30
    assert worker.connected is True
    process.kill()
    process.wait(timeout=10)
    release.touch()
    wait_for(lambda: seen(broker, "busy", "busy").connected is False, timeout=20, message="its horse ended too")


def test_an_idle_worker_survives_the_brokers_restart(own_valkey: ValkeyServer, start_worker: StartWorker) -> None:
    """redis-py does not restore a connection's name; its subscription, which it does restore, is the sign of life."""
    broker = Broker("default", own_valkey.url)
    start_worker(own_valkey, "stays")
    seen(broker, "stays")
    own_valkey.stop()
    own_valkey.start()
    connected = []

    def back() -> bool:
        worker = found(take_sample(broker), "stays")
        connected.append(worker.connected if worker else "not listed")
        return connected[-1] is True

    wait_for(back, timeout=60, every=0.2, message="the worker reconnected")
    assert set(connected) <= {None, True}, "never called gone while it reconnects"


def test_a_stock_workers_name_is_its_connections_name(client: redis.Redis) -> None:
    """What the check stands on, in RQ 3.0."""
    worker = SimpleWorker(["mail"], connection=client, name="w1")
    assert "w1" in {entry["name"] for entry in client.client_list()}
    worker.subscribe()
    assert client.pubsub_channels("rq:pubsub:*") == [b"rq:pubsub:w1"]
    worker.unsubscribe()
    assert os.getpid() == worker.pid
