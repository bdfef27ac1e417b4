"""Pause, drain, resume: orders that reach workers and never cost a job. How soon, ``bench.commands`` measures."""

import time
from pathlib import Path

from rq import Queue

from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for


def test_pause_lets_the_running_job_finish_and_takes_no_other(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    queue = Queue("mail", connection=host.valkey.client)
    host.configure(uid, spec(workers=2))
    host.start()
    host.wait_for_workers(uid, 2)
    running = queue.enqueue("tasks.hold", str(marker))
    wait_for(marker.exists, message="the job runs")
    host.command(uid, "paused")
    wait_for(lambda: _controls(host) == [True, True], message="both workers are told")
    wait_for(lambda: "paused" in _states(host), message="the idle worker pauses")
    waiting = queue.enqueue("tasks.add", 1, 1)
    Path(f"{marker}.release").touch()
    wait_for(lambda: _states(host) == ["paused", "paused"], message="both pause, alive")
    assert running.get_status() == "finished"
    assert waiting.get_status() == "queued"
    assert len(host.workers(uid)) == 2
    host.command(uid, "running")
    wait_for(lambda: waiting.get_status() == "finished", message="work goes on")


def test_drain_ends_every_worker_and_running_brings_them_back(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    queue = Queue("mail", connection=host.valkey.client)
    host.configure(uid, spec(workers=2, stop_grace=1))
    host.start()
    host.wait_for_workers(uid, 2)
    running = queue.enqueue("tasks.hold", str(marker))
    wait_for(marker.exists, message="the job runs")
    host.command(uid, "draining")
    wait_for(lambda: len(host.heartbeat()["workers"]) == 1, message="the idle one left")
    waiting = queue.enqueue("tasks.add", 1, 1)
    told = time.monotonic()
    wait_for(lambda: time.monotonic() - told > 2, message="longer than the grace: draining waits for its job")
    assert running.get_status() == "started"
    Path(f"{marker}.release").touch()
    wait_for(lambda: host.heartbeat()["workers"] == [], message="all left")
    assert (running.get_status(), waiting.get_status()) == ("finished", "queued")
    assert host.pool(uid)["run_state"] == "draining"
    host.command(uid, "running")
    host.wait_for_workers(uid, 2)
    wait_for(lambda: waiting.get_status() == "finished", message="the waiting job ran")


def test_older_run_state_is_refused(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.command(uid, "running")
    old = host.valkey.client.get(host.keys.run(uid))
    assert isinstance(old, bytes)
    host.command(uid, "paused")
    host.start()
    wait_for(lambda: host.pool(uid).get("run_state") == "paused", message="paused")
    host.valkey.client.set(host.keys.run(uid), old)
    wait_for(lambda: (host.pool(uid)["refused"] or {}).get("code") == "version_rollback", message="refused")
    assert host.pool(uid)["run_state"] == "paused"
    (refused,) = wait_for(lambda: host.events("config.refused"), message="told")
    assert refused["code"] == "version_rollback"


def _controls(host: AgentHost) -> list[bool]:
    return [control.paused for control in (channel.control() for channel in host.channels()) if control]


def _states(host: AgentHost) -> list[str]:
    return [status.state for status in (channel.status() for channel in host.channels()) if status]
