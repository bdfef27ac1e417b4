"""Whatever dies, and whenever: each job is in exactly one place, and runs no second time by accident."""

import signal
from pathlib import Path
from typing import Any

from rq import Retry
from rq.job import Job

from pools.runtime.keys import Keys
from pools.runtime.processes import ProcessId
from tests.runtime.holding import gone, hold, release
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.waiting import wait_for


def test_killed_worker_honours_the_jobs_own_retry(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker, retry=Retry(max=1))
    signal_worker(worker, signal.SIGKILL)
    gone(horse)
    release(marker)
    wait_for(lambda: job.get_status() == "finished", timeout=15, message=f"ran again: {host.log()}")
    assert len(marker.read_text().splitlines()) == 2


def test_agent_that_stops_kills_after_its_timeout(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.options = ["--stop-timeout", "0.5"]
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job, horse = hold(host, marker)
    assert host.stop() == 0
    gone(worker["pid"])
    gone(horse)
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
    name = f"{{eu}}:worker:{worker['name']}".encode()
    wait_for(lambda: client.smembers("{eu}:workers") == {name}, message="it is registered under the prefix")
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: host.events("worker.lost"), message="told under the prefix, too")
    assert [key for key in client.keys("*") if not key.startswith(b"{eu}:")] == []


def _result(job: Job) -> Any:
    return job.latest_result()
