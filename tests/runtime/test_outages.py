"""Redis away for a minute, gone and back, or behind a bad network: workers wait, and each job runs and ends once."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue

from pools.runtime import connection
from tests.runtime.holding import hold, release, runs
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.proxy import Proxy
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

AWAY_SECONDS = 60.0


@pytest.fixture
def proxy(valkey: ValkeyServer) -> Iterator[Proxy]:
    made = Proxy(valkey.port)
    yield made
    made.close()


@pytest.fixture
def far_host(host: AgentHost, proxy: Proxy) -> AgentHost:
    """A host whose agent and workers reach the broker through the proxy only."""
    host.environment = {"POOLWARDEN_REDIS_URL": proxy.url}
    return host


def pause(server: ValkeyServer) -> Callable[[], None]:
    assert server.process is not None
    process = server.process
    os.kill(process.pid, signal.SIGSTOP)
    return lambda: os.kill(process.pid, signal.SIGCONT)


def crash(server: ValkeyServer) -> Callable[[], None]:
    server.kill()
    return server.start


@pytest.mark.timeout(240)
@pytest.mark.parametrize("away", [pause, crash])
def test_redis_away_for_a_minute_costs_nothing(
    tmp_path: Path, own_valkey: ValkeyServer, away: Callable[[ValkeyServer], Callable[[], None]]
) -> None:
    host, uid, marker = AgentHost(tmp_path / "host", own_valkey), new_uid(), tmp_path / "held"
    counted = tmp_path / "runs"
    try:
        host.configure(uid, spec(workers=2))
        host.start()
        workers = host.wait_for_workers(uid, 2)
        queue = Queue("mail", connection=own_valkey.client)
        job, _ = hold(host, marker)
        come_back, began = away(own_valkey), time.monotonic()
        release(marker)
        wait_for(Path(f"{marker}.done").exists, message="the job ends while Redis is away")
        wait_for(lambda: time.monotonic() - began > AWAY_SECONDS, timeout=AWAY_SECONDS + 10, message="an outage")
        come_back()
        wait_for(lambda: job.get_status() == "finished", timeout=60, message=f"the result arrives: {host.log()}")
        jobs = [queue.enqueue("tasks.mark", str(counted)) for _ in range(20)]
        wait_for(lambda: all(one.get_status() == "finished" for one in jobs), timeout=60, message=host.log)
        assert places(own_valkey.client, "mail", job.id) == ["finished"]
        assert (runs(marker), runs(counted), len(job.results())) == (1, 20, 1)
        wait_for(lambda: host.workers(uid) == workers, message="the same workers, by the same agent")
        assert host.events("job.failed") == host.events("worker.lost") == []
    finally:
        host.close()


def test_patience_is_also_for_connections_that_close_as_soon_as_they_are_open(own_valkey: ValkeyServer) -> None:
    """What is in front of a dead broker still takes them, and closes them at once; redis-py gives up on the second."""
    proxy = Proxy(own_valkey.port)
    client = connection.patient(proxy.url)

    def late(made: Any) -> None:
        made.on_connect()
        time.sleep(0.05)

    client.connection_pool.connection_kwargs["redis_connect_func"] = late
    assert client.ping()
    own_valkey.kill()
    back = threading.Timer(1.0, own_valkey.start)
    back.start()
    with client.pipeline() as pipeline:
        assert pipeline.set("key", "value").execute() == [True]
    back.join()
    proxy.close()


def test_lost_connections_cost_nothing(far_host: AgentHost, proxy: Proxy, tmp_path: Path) -> None:
    host, uid, marker = far_host, new_uid(), tmp_path / "runs"
    host.configure(uid, spec(workers=3))
    host.start()
    host.wait_for_workers(uid, 3)
    queue = Queue("mail", connection=host.valkey.client)
    jobs = [queue.enqueue("tasks.mark", str(marker)) for _ in range(100)]

    def done() -> bool:
        proxy.cut()
        return all(job.get_status() == "finished" for job in jobs)

    wait_for(done, timeout=120, every=0.5, message=host.log)
    assert runs(marker) == len(jobs)
    assert host.events("job.failed") == []


def test_lost_answers_to_transactions_cost_nothing(far_host: AgentHost, proxy: Proxy, tmp_path: Path) -> None:
    """What the broker has done and nobody heard of is asked for again: it must not be done again."""
    host, uid, marker = far_host, new_uid(), tmp_path / "runs"
    host.configure(uid, spec(workers=3))
    host.start()
    host.wait_for_workers(uid, 3)
    queue = Queue("mail", connection=host.valkey.client)
    jobs = [queue.enqueue("tasks.mark", str(marker)) for _ in range(100)]
    proxy.lose = 0.15
    wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=120, message=host.log)
    assert proxy.lost.total() > 20, "the network was bad enough"
    proxy.lose = 0.0
    assert runs(marker) == len(jobs)
    assert [places(host.valkey.client, "mail", job.id) for job in jobs] == [["finished"]] * len(jobs)
    assert host.events("job.failed") == []
