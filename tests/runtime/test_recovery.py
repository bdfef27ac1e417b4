"""Lost workers and hosts by the task's policy, orphans, drains and signals: in real processes."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Dependency

from pools.runtime.processes import ProcessId
from pools.runtime.watch import WORKER_SECONDS
from tests.runtime.holding import gone, hold, release, runs
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

AT_LEAST_ONCE = {"policies": [{"task": "tasks.*", "delivery": "at_least_once", "losses": 3}]}


@pytest.fixture
def second_host(tmp_path: Path, valkey: ValkeyServer) -> Iterator[AgentHost]:
    made = AgentHost(tmp_path / "second", valkey, name="host-2")
    yield made
    made.close()


def die(host: AgentHost) -> None:
    """As when the power goes: the agent first, so that it tells nobody, then all it started."""
    pids = [worker["pid"] for worker in host.heartbeat()["workers"]]
    host.kill()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_at_least_once_job_of_a_killed_worker_runs_again_with_a_record(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec(**AT_LEAST_ONCE))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    signal_worker(worker, signal.SIGKILL)
    gone(horse)
    release(marker)
    wait_for(lambda: job.get_status() == "finished", timeout=20, message=f"ran again: {host.log()}")
    assert runs(marker) == 2
    done, lost = job.results()
    assert (lost.worker_name, lost.type.name, done.type.name) == (worker["name"], "RETRIED", "SUCCESSFUL")
    assert "signal 9" in (lost.exc_string or "")
    assert host.events("job.failed") == []


def test_at_least_once_job_of_a_killed_horse_runs_again(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec(**AT_LEAST_ONCE))
    host.start()
    before = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    os.kill(horse, signal.SIGKILL)
    gone(horse)
    release(marker)
    wait_for(lambda: job.get_status() == "finished", message=f"ran again: {host.log()}")
    assert runs(marker) == 2
    assert host.workers(uid) == before


def test_job_that_kills_its_workers_is_a_dead_letter_after_its_losses(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "runs"
    host.configure(uid, spec(workers=2, **AT_LEAST_ONCE))
    host.start()
    host.wait_for_workers(uid, 2)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.kill_worker", str(marker))
    wait_for(lambda: job.get_status() == "failed", timeout=60, message=host.log)
    assert runs(marker) == 3
    wait_for(lambda: len(host.events("worker.lost")) == 3, message="three workers died of it")
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    assert len(host.events("job.failed")) == 1
    assert "lost as often as its policy allows" in _text(job)


def test_dependent_that_allows_failure_follows_a_lost_job(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, _ = hold(host, marker)
    child = Queue("mail", connection=host.valkey.client).enqueue(
        "tasks.add", 1, 1, depends_on=Dependency(job, allow_failure=True)
    )
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: child.get_status() == "finished", timeout=20, message=host.log)


@pytest.mark.parametrize("delivery", ["at_most_once", "at_least_once"])
def test_jobs_of_a_dead_host_are_decided_by_another_agent(
    host: AgentHost, second_host: AgentHost, tmp_path: Path, delivery: str
) -> None:
    """An agent that does not even serve the pool: the policy is in the job."""
    uid, marker = new_uid(), tmp_path / "held"
    host.options = ["--label", "zone=a"]
    policy = {"task": "tasks.hold", "delivery": delivery}
    host.configure(uid, spec(placement={"zone": "a"}, policies=[policy]))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    second_host.start()
    wait_for(second_host.heartbeat, message="the second agent speaks")
    job, _ = hold(host, marker)
    die(host)
    expected = {"at_most_once": "failed", "at_least_once": "queued"}[delivery]
    wait_for(lambda: job.get_status() == expected, timeout=60, message=second_host.log)
    assert places(host.valkey.client, "mail", job.id) == [{"failed": "failed", "queued": "queue"}[expected]]
    assert "its host fell silent (agent host-1)" in _text(job)
    (lost,) = wait_for(lambda: second_host.events("worker.lost"), message="the loss is an event")
    assert (lost["agent"], lost["worker"], lost["job_id"]) == ("host-2", worker["name"], job.id)


def test_workers_whose_agent_alone_died_are_left_alone(host: AgentHost, second_host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    host.wait_for_workers(uid, 1)
    second_host.start()
    wait_for(second_host.heartbeat, message="the second agent speaks")
    job, _ = hold(host, marker)
    host.kill()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + WORKER_SECONDS + 2, message="longer than a silence that is judged")
    assert job.get_status() == "started"
    release(marker)
    wait_for(lambda: job.get_status() == "finished", message="it was never disturbed")
    assert runs(marker) == 1


@pytest.mark.parametrize("who", ["worker", "agent", "both"])
def test_no_horse_outlives_its_worker(host: AgentHost, tmp_path: Path, who: str) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, pid = hold(host, marker)
    horse = ProcessId.of(pid)
    assert horse is not None
    if who != "worker":
        host.kill()
    if who != "agent":
        os.kill(worker["pid"], signal.SIGKILL)
        wait_for(lambda: not horse.alive, message="the kernel ends the horse with its worker")
        return
    release(marker)
    wait_for(lambda: job.get_status() == "finished", message="worker and horse go on without their agent")
    wait_for(lambda: not horse.alive, message="and the horse ends with its job")


def test_job_cut_after_the_grace_is_reported_by_name(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.options = ["--stop-timeout", "0.5"]
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, _ = hold(host, marker)
    assert host.stop() == 0
    (lost,) = host.events("worker.lost")
    assert (lost["worker"], lost["exit"], lost["job_id"]) == (worker["name"], "signal 9, cut after its grace", job.id)
    assert job.get_status() == "failed", "the agent decides before it leaves"
    assert "it did not end within its grace" in _text(job)


def test_scaling_in_lets_the_busy_worker_finish_and_takes_the_idle_ones(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec(workers=3))
    host.start()
    host.wait_for_workers(uid, 3)
    job, _ = hold(host, marker)
    job.refresh()
    host.configure(uid, spec(workers=1))
    (left,) = host.wait_for_workers(uid, 1)
    assert left["name"] == job.worker_name
    release(marker)
    wait_for(lambda: job.get_status() == "finished", message="the job was never disturbed")


def test_storm_of_200_signals_loses_nothing(host: AgentHost, tmp_path: Path) -> None:
    uid, marker, chance = new_uid(), tmp_path / "runs", random.Random(5)
    queue = Queue("mail", connection=host.valkey.client)
    host.configure(uid, spec(workers=3))
    host.start()
    host.wait_for_workers(uid, 3)
    numbers = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "CHLD", "CONT", "WINCH"]
    jobs = []
    for sent in range(200):
        if sent % 4 == 0:
            jobs.append(queue.enqueue("tasks.mark", str(marker)))
        worker = chance.choice(wait_for(lambda: host.heartbeat()["workers"], timeout=60))
        signal_worker(worker, signal.Signals[f"SIG{chance.choice(numbers)}"])
    host.configure(uid, spec(workers=3, result_ttl=600))  # a new build: what ended counts no more
    wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=60, message=host.log)
    assert runs(marker) == len(jobs)
    assert host.events("job.failed") == host.events("worker.lost") == []


def _text(job: Any) -> str:
    return job.latest_result().exc_string or ""
