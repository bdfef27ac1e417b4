"""A host dies and no agent is left: the controller decides its jobs. And what a forged heartbeat cannot do to that."""

import json
import time
from pathlib import Path

import pytest
import redis
from rq import Queue

from pools.broker.connection import Broker
from pools.controller.lease import LeaderLease
from pools.controller.reaper import Reaper
from pools.models import Team
from tests.controller.conftest import Tick
from tests.controller.installation import Installation
from tests.runtime.holding import runs
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support import factories
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


def test_the_last_host_dies_and_a_controller_decides_its_jobs_within_20_s(
    installation: Installation, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Nothing is left but the controller: each running job as its policy says, and an event for each lost worker."""
    installation.open()
    installation.wait_for_leader(installation.controller())
    host, uid, marks = AgentHost(tmp_path / "host", valkey), new_uid(), [tmp_path / "once", tmp_path / "again"]
    try:
        host.configure(uid, spec(workers=2))
        host.start()
        workers = host.wait_for_workers(uid, 2, timeout=40)
        queue = Queue("mail", connection=valkey.client)
        once, waits = queue.enqueue("tasks.hold", str(marks[0])), queue.enqueue("tasks.hold", str(marks[1]))
        wait_for(lambda: all(mark.exists() and runs(mark) for mark in marks), timeout=20, message=host.log)
        valkey.client.hset(waits.key, "pw_redeliver", 3)  # as the worker writes it for an at_least_once job
        host.kill()
        died = time.monotonic()
        for worker in workers:
            signal_worker(worker, 9)
        wait_for(
            lambda: waits.get_status() == "queued" and once.get_status() == "failed", timeout=60, message="decided"
        )
        assert time.monotonic() - died < 20
        assert (places(valkey.client, "mail", once.id), places(valkey.client, "mail", waits.id)) == (
            ["failed"],
            ["queue"],
        )
        result = once.latest_result()
        assert result is not None and "its host fell silent (agent host-1)" in (result.exc_string or "")
        lost = "SELECT actor_kind, target_name FROM audit_event WHERE action = 'worker.lost'"
        told = wait_for(lambda: (rows := installation.query(lost)) and len(rows) == 2 and rows, timeout=10)
        assert {name for _, name in told} == {worker["name"] for worker in workers}
        assert {kind for kind, _ in told} == {"system"}
        letters = "SELECT job_id FROM pools_deadletter WHERE state = 'open'"
        assert wait_for(lambda: installation.query(letters), timeout=10) == [(once.id,)]
    finally:
        host.close()


@pytest.mark.django_db
@pytest.mark.parametrize("worker", ["\ud800", "x\x00", ""])
def test_a_forged_heartbeat_neither_stops_it_nor_is_believed(
    lease: LeaderLease, tick: Tick, broker: Broker, team: Team, worker: str
) -> None:
    factories.agent("pay-01")
    client, said = redis.Redis.from_url(broker.url), {"name": worker, "pool_uid": "\ud800", "pid": 1, "config": 2**70}
    client.hset(broker.keys.agents, "forged", json.dumps({"agent": "forged", "workers": [said]}))
    reaper = Reaper(lease)
    for _ in range(3):
        assert tick(reaper) is False
    assert client.get(broker.keys.reaper) == lease.holder.encode()


@pytest.mark.django_db
def test_a_broker_without_agents_gets_no_lease(lease: LeaderLease, tick: Tick, broker: Broker) -> None:
    tick(Reaper(lease))
    assert redis.Redis.from_url(broker.url).keys("*") == []
