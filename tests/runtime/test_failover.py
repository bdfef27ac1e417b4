"""The broker fails over: a replica is promoted under the same address, and the old one lives on as its replica.

Connections to the old one stay open, and it answers: every write with READONLY.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from rq import Queue

from pools.broker.connection import Broker
from tests.runtime.holding import hold, release, runs
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.proxy import Proxy
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for


@pytest.fixture
def replica(own_valkey: ValkeyServer, tmp_path: Path) -> Iterator[ValkeyServer]:
    made = ValkeyServer(tmp_path / "replica", free_port())
    made.start()
    made.client.replicaof("127.0.0.1", own_valkey.port)
    wait_for(lambda: made.client.info("replication")["master_link_status"] == "up", message="the replica is in step")
    yield made
    made.kill()


@pytest.fixture
def proxy(own_valkey: ValkeyServer) -> Iterator[Proxy]:
    """The address that stays."""
    made = Proxy(own_valkey.port)
    yield made
    made.close()


def fail_over(old: ValkeyServer, new: ValkeyServer, proxy: Proxy) -> None:
    old.client.execute_command("FAILOVER", "TO", "127.0.0.1", new.port)
    wait_for(lambda: new.client.info("replication")["role"] == "master", message="the replica is promoted")
    wait_for(lambda: old.client.info("replication")["role"] == "slave", message="the old one follows it")
    proxy.target = new.port
    with pytest.raises(redis.ReadOnlyError):
        old.client.set("key", "value")


def test_a_failover_costs_nothing(
    tmp_path: Path, own_valkey: ValkeyServer, replica: ValkeyServer, proxy: Proxy
) -> None:
    """A running job ends once, those that wait run once, by the same workers of the same agent."""
    host, uid, marker, counted = (
        AgentHost(tmp_path / "host", own_valkey),
        new_uid(),
        tmp_path / "held",
        tmp_path / "runs",
    )
    host.environment = {"POOLWARDEN_REDIS_URL": proxy.url}
    try:
        host.configure(uid, spec(workers=2))
        host.start()
        workers = host.wait_for_workers(uid, 2)
        job, _ = hold(host, marker)
        own_valkey.client.wait(1, 5000)
        fail_over(own_valkey, replica, proxy)
        queue = Queue("mail", connection=replica.client)
        jobs = [queue.enqueue("tasks.mark", str(counted)) for _ in range(20)]
        release(marker)
        ends = [*jobs, queue.fetch_job(job.id)]
        wait_for(lambda: all(one and one.get_status() == "finished" for one in ends), timeout=60, message=host.log)
        assert places(replica.client, "mail", job.id) == ["finished"]
        assert (runs(marker), runs(counted)) == (1, 20)
        host.valkey = replica
        host.configure(uid, spec(workers=1))
        wait_for(lambda: len(host.workers(uid)) == 1, timeout=60, message=f"the agent hears orders again: {host.log()}")
        assert host.workers(uid)[0]["name"] in [worker["name"] for worker in workers]
        assert host.events("job.failed") == host.events("worker.lost") == []
    finally:
        host.close()


def test_the_console_follows_a_failover(own_valkey: ValkeyServer, replica: ValkeyServer, proxy: Proxy) -> None:
    """A connection that is open leads to what can only be read: the next write goes where the address leads now."""
    broker = Broker("default", proxy.url)
    with broker.use() as client:
        client.set("before", 1)
        own_valkey.client.wait(1, 5000)
        fail_over(own_valkey, replica, proxy)
        assert client.set("after", 1)
    assert replica.client.mget("before", "after") == [b"1", b"1"]
