"""An agent brings what runs to what is signed, and keeps it there."""

import signal
import time
from pathlib import Path

from rq import Queue, Worker

from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.waiting import wait_for


def test_signed_config_starts_workers_that_run_jobs(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec(workers=2))
    host.start()
    host.wait_for_workers(uid, 2, config=1)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 2, 3)
    wait_for(lambda: job.get_status() == "finished", message=f"the job ran: {host.log()}")
    assert job.return_value(refresh=True) == 5
    assert host.stop() == 0
    assert Worker.count(connection=host.valkey.client) == 0


def test_heartbeat_says_what_is_told_verified_and_running(host: AgentHost) -> None:
    uid = new_uid()
    host.options = ["--label", "zone=a"]
    host.configure(uid, spec())
    host.start()
    host.wait_for_workers(uid, 1)
    heartbeat = host.heartbeat()
    assert heartbeat["labels"] == {"zone": "a"}
    assert heartbeat["root"] == host.simulator.root.sha256
    pool = host.pool(uid)
    assert (pool["told"], pool["verified"], pool["running"]) == (1, 1, 1)
    assert (pool["run_state"], pool["generation"], pool["refused"], pool["boot_failure"]) == ("running", 0, None, None)
    assert pool["isolation"] is None
    sequence = heartbeat["seq"]
    wait_for(lambda: host.heartbeat()["seq"] > sequence, message="a heartbeat each second")


def test_worker_count_follows_config_without_restarting_the_others(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec(workers=2))
    host.start()
    before = {worker["pid"] for worker in host.wait_for_workers(uid, 2)}
    host.configure(uid, spec(workers=3))
    more = {worker["pid"] for worker in host.wait_for_workers(uid, 3, config=2)}
    assert before < more
    host.configure(uid, spec(workers=1))
    fewer = {worker["pid"] for worker in host.wait_for_workers(uid, 1, config=3)}
    assert fewer < before


def test_changed_cron_entries_restart_no_worker(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.start()
    before = {worker["pid"] for worker in host.wait_for_workers(uid, 1, config=1)}
    host.configure(uid, spec(cron=[{"name": "report", "task": "tasks.add", "schedule": "@yearly"}]))
    assert {worker["pid"] for worker in host.wait_for_workers(uid, 1, config=2)} == before


def test_changed_build_replaces_every_worker(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec(workers=2))
    host.start()
    old = {worker["pid"] for worker in host.wait_for_workers(uid, 2)}
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(marker))
    wait_for(marker.exists, message="the job runs")
    host.configure(uid, spec(workers=2, result_ttl=100))
    wait_for(lambda: len(host.workers(uid)) == 2 and len(host.workers(uid, "draining")) == 1, message=host.log)
    assert not old & {worker["pid"] for worker in host.workers(uid)}
    Path(f"{marker}.release").touch()
    host.wait_for_workers(uid, 2, config=2)
    assert job.get_status() == "finished"


def test_pool_that_is_not_placed_here_is_left_alone(host: AgentHost) -> None:
    here, elsewhere = new_uid(), new_uid()
    host.options = ["--label", "zone=a", "--label", "disk=fast"]
    host.configure(elsewhere, spec("one", placement={"zone": "b"}))
    host.configure(here, spec("two", placement={"zone": "a"}))
    host.start()
    host.wait_for_workers(here, 1)
    assert host.pool(elsewhere) == {}
    host.configure(here, spec("two", placement={"zone": "b"}))
    wait_for(lambda: host.heartbeat()["workers"] == [], message="the pool moved away")


def test_killed_worker_is_replaced(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: [w for w in host.workers(uid) if w["pid"] != worker["pid"]], message="a new worker")
    (lost,) = wait_for(lambda: host.events("worker.lost"), message="the loss is an event")
    assert (lost["worker"], lost["exit"], lost["job_id"], lost["agent"]) == (worker["name"], "signal 9", None, "host-1")


def test_pool_that_leaves_the_hint_keeps_running(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.start()
    before = host.wait_for_workers(uid, 1)
    host.valkey.client.delete(host.keys.desired)
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 3, message="the agent looked for its pools")
    assert host.workers(uid) == before


def test_second_agent_with_the_same_state_folder_refuses_to_start(host: AgentHost, tmp_path: Path) -> None:
    host.start()
    wait_for(host.heartbeat, message="the first agent runs")
    second = AgentHost(tmp_path / "host", host.valkey, name="host-2")
    second.start()
    assert second.process is not None
    assert second.process.wait(timeout=30) == 1
    assert "Another agent runs" in second.log()
