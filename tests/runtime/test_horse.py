"""``horse.jobs``: one process for several jobs. All that holds with a process for each job holds here, too."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.runtime.processes import ProcessId
from pools.runtime.sandbox.meter import children
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.waiting import wait_for


def serving(host: AgentHost, jobs: int) -> tuple[Queue, dict[str, Any]]:
    """A pool of one worker whose horses serve ``jobs`` jobs."""
    uid = new_uid()
    host.configure(uid, spec(horse={"jobs": jobs}))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    return Queue("mail", connection=host.valkey.client), worker


def finished(host: AgentHost, jobs: list[Job]) -> None:
    wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=40, message=host.log)


def test_a_horse_serves_its_number_of_jobs_and_is_replaced(host: AgentHost, tmp_path: Path) -> None:
    queue, _ = serving(host, 3)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs")) for _ in range(7)])
    pids = (tmp_path / "runs").read_text().split()
    assert pids == [pids[0]] * 3 + [pids[3]] * 3 + [pids[6]]
    assert len(set(pids)) == 3


def test_one_job_a_horse_is_the_default(host: AgentHost, tmp_path: Path) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.start()
    queue = Queue("mail", connection=host.valkey.client)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs")) for _ in range(3)])
    assert len(set((tmp_path / "runs").read_text().split())) == 3


def test_a_failed_job_is_its_own_matter(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 5)
    first = queue.enqueue("tasks.mark", str(tmp_path / "runs"))
    failing = queue.enqueue("tasks.fail", "KeyError")
    last = queue.enqueue("tasks.mark", str(tmp_path / "runs"))
    finished(host, [first, last])
    assert failing.get_status() == "failed"
    assert "KeyError" in str(failing.latest_result().exc_string)  # type: ignore[union-attr]
    assert len(set((tmp_path / "runs").read_text().split())) == 1
    assert [(event["job_id"], event["worker"]) for event in host.events("job.failed")] == [(failing.id, worker["name"])]


def test_an_end_that_its_horse_could_not_write_is_written_by_the_worker_at_once(
    host: AgentHost, tmp_path: Path
) -> None:
    """rq logs that and goes on: the job would stay *started* until its lease ends."""
    queue, worker = serving(host, 5)
    spoilt, last = queue.enqueue("tasks.break_client"), queue.enqueue("tasks.mark", str(tmp_path / "runs"))
    finished(host, [last])
    assert places(host.valkey.client, "mail", spoilt.id) == ["failed"]
    assert "terminated unexpectedly" in str(spoilt.latest_result().exc_string)  # type: ignore[union-attr]
    assert [(event["job_id"], event["worker"]) for event in host.events("job.failed")] == [(spoilt.id, worker["name"])]


def test_a_horse_that_dies_takes_only_its_job(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 50)
    before = [queue.enqueue("tasks.mark", str(tmp_path / "runs")) for _ in range(3)]
    finished(host, before)
    held = queue.enqueue("tasks.hold", str(tmp_path / "held"))
    after = [queue.enqueue("tasks.mark", str(tmp_path / "runs")) for _ in range(3)]
    wait_for(lambda: (tmp_path / "held").exists() and (tmp_path / "held").read_text(), message=host.log)
    horse = int((tmp_path / "runs").read_text().split()[0])
    assert int((tmp_path / "held").read_text()) == horse
    wait_for(
        lambda: any(s and s.job_id == held.id and s.horse and s.horse.pid == horse for s in _statuses(host)),
        message="who runs what is told",
    )
    os.kill(horse, signal.SIGKILL)
    finished(host, after)
    assert held.get_status() == "failed"
    assert places(host.valkey.client, "mail", held.id) == ["failed"]
    assert len(set((tmp_path / "runs").read_text().split())) == 2
    assert [w["pid"] for w in host.workers(worker["pool_uid"])] == [worker["pid"]]


@pytest.mark.parametrize("jobs", [1, 5])
@pytest.mark.parametrize("what", ["," * 100, "?"])
def test_a_job_that_speaks_for_its_horse_is_ended(host: AgentHost, what: str, jobs: int) -> None:
    """More than a horse says, or something else: its worker must not listen for ever, and look after no bounds."""
    queue, worker = serving(host, jobs)
    lying, after = queue.enqueue("tasks.mislead", what), queue.enqueue("tasks.add", 1, 1)
    finished(host, [after])
    assert places(host.valkey.client, "mail", lying.id) == ["failed"]
    assert "terminated unexpectedly" in str(lying.latest_result().exc_string)  # type: ignore[union-attr]
    assert [w["pid"] for w in host.workers(worker["pool_uid"])] == [worker["pid"]]


def test_a_horse_that_dies_idle_takes_no_job(host: AgentHost, tmp_path: Path) -> None:
    queue, _ = serving(host, 50)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    _killed(int((tmp_path / "runs").read_text()))
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    assert host.events("job.failed") == []


def test_a_timeout_ends_one_job(host: AgentHost, tmp_path: Path) -> None:
    queue, _ = serving(host, 50)
    slow = queue.enqueue("tasks.hold", str(tmp_path / "held"), job_timeout=1)
    quick = queue.enqueue("tasks.add", 1, 2)
    finished(host, [quick])
    assert slow.get_status() == "failed"
    assert "JobTimeoutException" in str(slow.latest_result().exc_string)  # type: ignore[union-attr]


def test_a_large_job_does_not_stop_its_worker(host: AgentHost) -> None:
    """More than a pipe holds: the horse reads the job itself."""
    queue, _ = serving(host, 50)
    text = "x" * 300_000 + os.urandom(100_000).hex()
    jobs = [queue.enqueue("builtins.len", text) for _ in range(3)]
    finished(host, jobs)
    assert {job.return_value() for job in jobs} == {len(text)}


def test_an_idle_horse_leaves_with_its_worker(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 50)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    horse = int((tmp_path / "runs").read_text())
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{horse}").exists(), message="the horse died with its worker")


def test_the_next_horse_waits_for_its_job(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 1)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    waiting = _waiting(worker, tmp_path / "runs")
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    assert (tmp_path / "runs").read_text().split()[1] == str(waiting)


def test_a_horse_that_dies_before_its_first_job_takes_none(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 1)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    _killed(_waiting(worker, tmp_path / "runs"))
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    assert host.events("job.failed") == []


def test_a_horse_that_waits_leaves_with_its_worker(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 1)
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])
    waiting = _waiting(worker, tmp_path / "runs")
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: not Path(f"/proc/{waiting}").exists(), message="the horse died with its worker")
    assert host.events("job.failed") == []


def test_a_stable_that_dies_takes_only_the_job_that_runs(host: AgentHost, tmp_path: Path) -> None:
    queue, worker = serving(host, 1)
    held = queue.enqueue("tasks.hold", str(tmp_path / "held"))
    wait_for(lambda: (tmp_path / "held").exists(), message=host.log)
    after = queue.enqueue("tasks.mark", str(tmp_path / "runs"))
    _killed(children(worker["pid"])[0])
    finished(host, [after])
    assert held.get_status() == "failed"
    assert [event["job_id"] for event in host.events("job.failed")] == [held.id]
    _killed(children(worker["pid"])[0])
    finished(host, [queue.enqueue("tasks.mark", str(tmp_path / "runs"))])


def _killed(horse: int) -> None:
    os.kill(horse, signal.SIGKILL)
    wait_for(lambda: ProcessId.of(horse) is None, message="the horse is dead")


def _waiting(worker: dict[str, Any], ran: Path) -> int:
    """The horse that has had no job, once those that had one are gone."""
    had = set(map(int, ran.read_text().split()))
    (waiting,) = wait_for(
        lambda: (found := _horses(worker)) and len(found) == 1 and not had & set(found) and found, message="it waits"
    )
    return int(waiting)


def _horses(worker: dict[str, Any]) -> list[int]:
    (stable,) = children(worker["pid"])
    return children(stable)


def _statuses(host: AgentHost) -> list[Any]:
    return [channel.status() for channel in host.channels()]
