"""How RQ fails, row by row, and what becomes of the same event in a managed pool. One test a row, named after it.

| event | stock RQ |
|---|---|
| SIGKILL of the horse | failed in 0.1 s |
| SIGKILL of the worker | an orphan runs on, and a second run starts |
| kill worker and horse | 91 s to 13 min to *failed* |
| SIGTERM twice, more than 1 s apart | the running job is killed, and hangs in *started* |
| SIGTERM under load | jobs are lost |
| death after BLPOP (here: the claim), before the started registry | lost for ever |
| death between the registry and LREM, rerun fine | a finished job becomes a failed one |
| idle worker (stock: with scheduler) killed | the dead BLPOP swallows the next job |
| Redis away 15 s, heartbeat due | the worker dies |
| Redis away over the job's end | runs twice, or failed |
| EXEC reply lost on enqueue | runs twice |
| a damaged job record | every reader dies |
| failure_ttl=6, requeue, wait | lost silently |
| one bad message on the worker's pubsub channel | a deaf worker |
| two rq cron | every job doubled |
| requeue (ZREM, then save and push) | a crash leaves the job nowhere |
| a timeout's exception is swallowed | the job runs on; timeouts have a test file of their own |
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.broker.connection import Broker, BrokerUnavailable
from pools.broker.moves import Outcome, requeue
from pools.runtime.processes import ProcessId
from tests.runtime.holding import gone, hold, release, runs
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.proxy import Proxy
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


@pytest.fixture
def lone_host(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[AgentHost]:
    """A host with a Valkey of its own, to stop and start."""
    made = AgentHost(tmp_path / "host", own_valkey)
    yield made
    made.close()


def start(host: AgentHost, **changes: Any) -> tuple[str, list[dict[str, Any]]]:
    """The pool's uid and its running workers."""
    uid, pool = new_uid(), spec(**changes)
    host.configure(uid, pool)
    host.start()
    return uid, host.wait_for_workers(uid, pool["workers"])


def test_sigkill_of_the_horse(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    os.kill(horse, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", message="failed")
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    assert [event["job_id"] for event in host.events("job.failed")] == [job.id]
    assert [w["pid"] for w in host.workers(uid)] == [worker["pid"]]


def test_sigkill_of_the_worker(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", message=f"failed: {host.log()}")
    gone(horse)
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    assert "signal 9" in job.latest_result().exc_string
    (lost,) = wait_for(lambda: host.events("worker.lost"), message="the loss is an event")
    assert lost["job_id"] == job.id
    (failed,) = host.events("job.failed")
    assert (failed["job_id"], failed["queue"], failed["worker"], failed["pool_uid"], failed["config"]) == (
        job.id,
        "mail",
        worker["name"],
        uid,
        1,
    )
    wait_for(lambda: worker["name"].encode() not in b" ".join(host.valkey.client.smembers("rq:workers")))


def test_kill_worker_and_horse(host: AgentHost, tmp_path: Path) -> None:
    _, (worker,) = start(host)
    job, horse = hold(host, tmp_path / "held")
    signal_worker(worker, signal.SIGKILL)
    os.kill(horse, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", message=host.log)
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    assert "Its outcome is unknown" in (job.latest_result().exc_string or "")


def test_sigterm_twice_more_than_1_s_apart(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    first = time.monotonic()
    signal_worker(worker, signal.SIGTERM)
    wait_for(lambda: time.monotonic() - first > 1.2, message="rq's own one second of forgiveness is over")
    signal_worker(worker, signal.SIGTERM)
    signal_worker(worker, signal.SIGINT)
    Path(f"{marker}.release").touch()
    wait_for(lambda: job.get_status() == "finished", message="the job finished")
    assert Path(f"{marker}.done").read_text() == f"{horse}\n"
    wait_for(lambda: ProcessId.of(worker["pid"]) is None, message="then the worker left")


def test_sigterm_under_load(host: AgentHost, tmp_path: Path) -> None:
    """Workers come and go while jobs pour in: every job runs exactly once."""
    uid, marker = new_uid(), tmp_path / "runs"
    queue = Queue("mail", connection=host.valkey.client)
    host.configure(uid, spec(workers=3))
    host.start()
    host.wait_for_workers(uid, 3)
    jobs: list[Job] = []
    for round_ in range(4):
        jobs += [queue.enqueue("tasks.mark", str(marker)) for _ in range(30)]
        for worker in host.workers(uid):
            signal_worker(worker, signal.SIGTERM)
            if round_ % 2:
                signal_worker(worker, signal.SIGTERM)
        host.configure(uid, spec(workers=3, result_ttl=600 + round_))
    host.wait_for_workers(uid, 3, config=5, timeout=40)
    wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=40, message=host.log)
    assert len(marker.read_text().splitlines()) == len(jobs)
    assert host.events("job.failed") == []


def test_death_after_the_claim_before_the_started_registry(host: AgentHost) -> None:
    uid, client = new_uid(), host.valkey.client
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    signal_worker(worker, signal.SIGSTOP)
    queue = Queue("mail", connection=client)
    first, second = queue.enqueue("tasks.add", 1, 1), queue.enqueue("tasks.add", 2, 2)
    # What the claim script leaves when the worker dies right after it.
    client.lmove("rq:queue:mail", "rq:queue:mail:intermediate", "LEFT", "RIGHT")
    client.hset(host.keys.claims, worker["name"], f"rq:queue:mail\n{first.id}")
    host.command(uid, "draining")
    wait_for(lambda: host.workers(uid, "draining"), message="no replacement takes the jobs")
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: queue.job_ids == [first.id, second.id], timeout=10, message=f"{queue.job_ids} {host.log()}")
    assert client.hlen(host.keys.claims) == 0
    assert places(client, "mail", first.id) == ["queue"]


def test_death_between_the_registry_and_lrem(host: AgentHost, tmp_path: Path) -> None:
    """There is no between: one transaction starts the job and empties the intermediate list."""
    _, (worker,) = start(host)
    marker, client = tmp_path / "held", host.valkey.client
    job, _ = hold(host, marker)
    assert client.llen("rq:queue:mail:intermediate") == 0
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", message=host.log)
    release(marker)
    job.requeue()
    wait_for(lambda: job.get_status() == "finished", message=host.log)
    assert client.keys("*intermediate*") == []
    assert places(client, "mail", job.id) == ["finished"]


def test_idle_worker_killed(host: AgentHost) -> None:
    """Nobody waits inside the broker: a dead worker's connection takes nothing."""
    uid, (worker,) = start(host)
    signal_worker(worker, signal.SIGKILL)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: job.get_status() == "finished", timeout=20, message=host.log)
    wait_for(lambda: worker["name"] not in {found["name"] for found in host.workers(uid)}, message=host.log)
    host.wait_for_workers(uid, 1)


def test_redis_away_heartbeat_due(lone_host: AgentHost, tmp_path: Path) -> None:
    host, marker = lone_host, tmp_path / "held"
    uid, workers = start(host)
    job, _ = hold(host, marker)
    host.valkey.kill()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 15, timeout=20, message="three heartbeats are due")
    host.valkey.start()
    release(marker)
    wait_for(lambda: job.get_status() == "finished", timeout=30, message=host.log)
    assert runs(marker) == 1
    wait_for(lambda: host.workers(uid) == workers, message="the same worker")


def test_redis_away_over_the_jobs_end(lone_host: AgentHost, tmp_path: Path) -> None:
    host, uid, marker = lone_host, new_uid(), tmp_path / "held"
    host.configure(uid, spec(workers=2))
    host.start()
    workers = host.wait_for_workers(uid, 2)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(marker))
    wait_for(marker.exists, message="a job runs")
    host.valkey.kill()
    Path(f"{marker}.release").touch()
    wait_for(Path(f"{marker}.done").exists, message="the job ends while Redis is away")
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > 3, message="an outage of some seconds")
    host.valkey.start()
    wait_for(lambda: job.get_status() == "finished", message=f"the result arrives: {host.log()}")
    assert places(host.valkey.client, "mail", job.id) == ["finished"]
    again = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: again.get_status() == "finished", message="work goes on")
    assert len(marker.read_text().splitlines()) == 1
    wait_for(lambda: host.workers(uid) == workers, message="the same workers, by the same agent")


def test_exec_reply_lost_on_enqueue(host: AgentHost, tmp_path: Path) -> None:
    """The producer's client pushes the id a second time; whoever takes the copy finds a job that does not wait."""
    marker = tmp_path / "runs"
    start(host)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.mark", str(marker), job_id="twice")
    host.valkey.client.rpush("rq:queue:mail", "twice")
    last = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: last.get_status() == "finished", message=host.log)
    assert runs(marker) == 1
    assert places(host.valkey.client, "mail", job.id) == ["finished"]


def test_a_damaged_job_record(host: AgentHost) -> None:
    client = host.valkey.client
    uid, workers = start(host)
    client.hset("rq:job:damaged", mapping={"data": "x", "status": "queued", "origin": "mail", "timeout": "soon"})
    client.rpush("rq:queue:mail", "damaged")
    job = Queue("mail", connection=client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: job.get_status() == "finished", message=host.log)
    assert places(client, "mail", "damaged") == ["failed"]
    assert host.workers(uid) == workers, "nobody died of it"


def test_failure_ttl_6_requeue_wait(host: AgentHost) -> None:
    client = host.valkey.client
    start(host, workers=1)
    job = Queue("mail", connection=client).enqueue("tasks.fail", failure_ttl=120)  # 6 may pass before we requeue it
    wait_for(lambda: job.get_status() == "failed", message=host.log)
    host.stop()
    (result,) = requeue(Broker("default", host.valkey.url), [(job.id, "mail")])
    assert result.outcome == Outcome.REQUEUED
    assert (client.ttl(job.key), places(client, "mail", job.id)) == (-1, ["queue"])


def test_one_bad_message_on_the_workers_pubsub_channel(host: AgentHost) -> None:
    client = host.valkey.client
    uid, (worker,) = start(host)
    assert client.publish(f"rq:pubsub:{worker['name']}", "no command") == 0, "nobody listens there"
    job = Queue("mail", connection=client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: job.get_status() == "finished", message=host.log)
    host.command(uid, "paused")
    wait_for(lambda: host.pool(uid)["run_state"] == "paused", message="and it still hears its agent")


def test_two_rq_cron(host: AgentHost, tmp_path: Path) -> None:
    """Here: two agents, at the same minutely entry, both late for the last three of its slots."""
    marker, client = tmp_path / "runs", host.valkey.client
    other = AgentHost(tmp_path / "other", host.valkey, "host-2", simulator=host.simulator)
    entry = {"name": "tick", "task": "tasks.mark", "schedule": "* * * * *", "args": [str(marker)]}
    try:
        uid, _ = start(host, cron=[entry | {"overlap": "allow", "catch_up": "all"}])
        other.start()
        other.wait_for_workers(uid, 1)
        wait_for(lambda: client.hget(host.keys.cron(uid), "tick:slot"), message="the entry is known")
        client.hset(host.keys.cron(uid), "tick:slot", (int(time.time()) // 60 - 3) * 60)

        def over() -> bool:
            waits = (
                client.llen("rq:queue:mail") + client.llen("rq:queue:mail:intermediate") + client.zcard("rq:wip:mail")
            )
            return client.zcard("rq:finished:mail") >= 3 and not waits

        wait_for(over, message=host.log)
        assert runs(marker) == client.zcard("rq:finished:mail") in (3, 4), "a minute may have passed"
    finally:
        other.close()


def test_requeue_whose_answer_is_lost(valkey: ValkeyServer) -> None:
    client, proxy = valkey.client, Proxy(valkey.port)
    queue = Queue("mail", connection=client)
    jobs = [queue.enqueue("tasks.add") for _ in range(20)]
    client.delete(queue.key)
    for job in jobs:
        job.set_status("failed")  # type: ignore[arg-type]
        queue.failed_job_registry.add(job, ttl=600)
    proxy.lose = 0.5
    broker = Broker("default", proxy.url)
    for job in jobs:
        with suppress(BrokerUnavailable):  # it gives up; what it asked for is done, or not at all
            requeue(broker, [(job.id, "mail")])
    proxy.close()
    assert proxy.lost.total() > 0
    assert all(places(client, "mail", job.id) in (["queue"], ["failed"]) for job in jobs)
    assert any(places(client, "mail", job.id) == ["queue"] for job in jobs)
