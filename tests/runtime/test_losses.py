"""Whatever dies, and whenever: each job is in exactly one place, and runs no second time by accident."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from rq import Queue, Retry
from rq.job import Job

from pools.runtime.keys import Keys
from pools.runtime.processes import ProcessId
from tests.runtime.holding import hold
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.waiting import wait_for


def test_killed_worker_leaves_a_dead_letter_and_no_orphan(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", timeout=10, message=f"failed: {host.log()}")
    assert ProcessId.of(horse) is None
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    assert "signal 9" in _result(job).exc_string
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


def test_killed_worker_honours_the_jobs_own_retry(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, _ = hold(host, marker, retry=Retry(max=1))
    Path(f"{marker}.release").touch()
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "finished", timeout=15, message=f"ran again: {host.log()}")
    assert len(marker.read_text().splitlines()) == 2


def test_claimed_job_of_a_dead_worker_goes_back_to_the_head_of_its_queue(host: AgentHost) -> None:
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


def test_killed_horse_is_a_failure_with_an_event(host: AgentHost, tmp_path: Path) -> None:
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


def test_drain_under_load_loses_nothing(host: AgentHost, tmp_path: Path) -> None:
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


def test_second_sigterm_does_not_touch_the_running_job(host: AgentHost, tmp_path: Path) -> None:
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


def test_agent_that_stops_kills_after_its_timeout(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.options = ["--stop-timeout", "0.5"]
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    started = time.monotonic()
    assert host.stop() == 0
    assert time.monotonic() - started < 5
    assert ProcessId.of(worker["pid"]) is None
    assert ProcessId.of(horse) is None
    host.start()
    wait_for(lambda: job.get_status() == "failed", message="the next agent settles what was left")
    assert places(host.valkey.client, "mail", job.id) == ["failed"]


def test_worker_that_hangs_while_it_drains_is_killed_after_the_grace(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec(stop_grace=1))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    signal_worker(worker, signal.SIGSTOP)
    host.command(uid, "draining")
    wait_for(lambda: host.heartbeat()["workers"] == [], message=host.log)
    assert ProcessId.of(worker["pid"]) is None


def test_prefix_of_rq_separates_environments(host: AgentHost) -> None:
    uid, client = new_uid(), host.valkey.client
    host.environment, host.keys = {"RQ_KEY_PREFIX": "{eu}"}, Keys("{eu}")
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    assert client.smembers("{eu}:workers") == {f"{{eu}}:worker:{worker['name']}".encode()}
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: host.events("worker.lost"), message="told under the prefix, too")
    assert [key for key in client.keys("*") if not key.startswith(b"{eu}:")] == []


def _result(job: Job) -> Any:
    return job.latest_result()
