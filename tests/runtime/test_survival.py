"""Agent, worker and Redis die in turn; the others go on, and all comes together again without a hand."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq import Queue

from pools.runtime.processes import ProcessId
from tests.runtime.holding import hold
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


@pytest.fixture
def lone_host(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[AgentHost]:
    """A host with a Valkey of its own, to stop and start."""
    made = AgentHost(tmp_path / "host", own_valkey)
    yield made
    made.close()


def test_restarted_agent_adopts_the_workers_of_the_killed_one(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    queue = Queue("mail", connection=host.valkey.client)
    host.configure(uid, spec(workers=3))
    host.start()
    workers = host.wait_for_workers(uid, 3)
    running, _ = hold(host, marker)
    host.kill()
    waiting = queue.enqueue("tasks.add", 1, 1)
    wait_for(lambda: waiting.get_status() == "finished", message="workers go on without their agent")
    idle = [worker for worker in workers if not _busy(host, worker["name"])]
    signal_worker(idle[0], signal.SIGKILL)
    host.start()
    wait_for(lambda: host.heartbeat()["pid"] == host.pid, message="the new agent speaks")
    found = host.wait_for_workers(uid, 3)
    adopted = {worker["pid"] for worker in workers} & {worker["pid"] for worker in found}
    assert adopted == {worker["pid"] for worker in workers} - {idle[0]["pid"]}
    assert [event["worker"] for event in host.events("worker.lost")] == [idle[0]["name"]]
    Path(f"{marker}.release").touch()
    wait_for(lambda: running.get_status() == "finished", message="the job was never disturbed")
    host.configure(uid, spec(workers=1, result_ttl=100))
    host.wait_for_workers(uid, 1, config=2)
    assert host.stop() == 0
    assert not any(ProcessId.of(worker["pid"]) for worker in found)


def test_worker_and_agent_killed_together_leave_one_dead_letter(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(marker))
    wait_for(marker.exists, message="a job runs")
    host.kill()
    signal_worker(worker, signal.SIGKILL)
    host.start()
    wait_for(lambda: job.get_status() == "failed", timeout=15, message=host.log)
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    host.wait_for_workers(uid, 1)


def test_agent_starts_workers_from_disk_while_redis_is_away(lone_host: AgentHost) -> None:
    host, uid = lone_host, new_uid()
    host.configure(uid, spec(workers=2))
    host.start()
    host.wait_for_workers(uid, 2)
    assert host.stop() == 0
    host.valkey.kill()
    host.start()
    wait_for(lambda: [s.state for s in (c.status() for c in host.channels()) if s] == ["ready"] * 2, message=host.log)
    host.valkey.start()
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: job.get_status() == "finished", message=host.log)
    host.wait_for_workers(uid, 2)


def test_agent_stops_in_time_while_redis_is_away(lone_host: AgentHost) -> None:
    host, uid = lone_host, new_uid()
    host.configure(uid, spec(workers=2))
    host.start()
    workers = host.wait_for_workers(uid, 2)
    wait_for(lambda: host.valkey.client.scard("rq:workers") == 2, message="both are registered")
    host.valkey.kill()
    assert host.stop(timeout=30) == 0
    assert not any(ProcessId.of(worker["pid"]) for worker in workers)
    host.valkey.start()
    assert host.valkey.client.scard("rq:workers") == 2, "nobody could say goodbye"
    host.configure(uid, spec(workers=0))
    host.start()
    wait_for(lambda: host.valkey.client.scard("rq:workers") == 0, message="the next agent does it for them")
    assert host.events("worker.lost") == []


def test_emptied_broker_gets_its_workers_back(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    host.valkey.client.flushall()
    wait_for(lambda: host.workers(uid), message="the agent speaks again")
    key = f"rq:worker:{worker['name']}".encode()
    wait_for(lambda: key in host.valkey.client.smembers("rq:workers"), timeout=15, message="the worker registers again")


def _busy(host: AgentHost, name: str) -> bool:
    status = next(channel.status() for channel in host.channels() if channel.directory.name == name)
    return status is not None and status.state == "busy"
