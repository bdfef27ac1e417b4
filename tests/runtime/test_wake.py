"""How idle workers are woken: the agent hears that jobs arrived and rings; nothing depends on it but time."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue

from pools.runtime import ringer
from pools.runtime.bell import Bell
from pools.runtime.keys import Keys
from pools.runtime.ringer import Listening, Ringer
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

FOREVER = 3600.0


@pytest.fixture
def bell(tmp_path: Path) -> Iterator[Bell]:
    made = Bell(tmp_path / "bells" / "pool")
    yield made
    made.close()


@pytest.fixture
def listen(valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Ringer]]:
    """Start a ringer that looks when it is told of a change, and else never."""
    monkeypatch.setattr(ringer, "LOOK_SECONDS", FOREVER)
    monkeypatch.setattr(ringer, "RETRY_SECONDS", 0.1)
    made: list[Ringer] = []

    def started(*listening: Listening, url: str = valkey.url) -> Ringer:
        made.append(Ringer(url, Keys()))
        made[-1].listening = listening
        made[-1].start()
        wait_for(lambda: lengths_asked(valkey.client) > 0, message="the ringer listens")
        return made[-1]

    yield started
    for one in made:
        one.close()


def lengths_asked(client: Redis) -> int:
    stats: dict[str, dict[str, int]] = client.info("commandstats")  # type: ignore[assignment]
    return stats.get("cmdstat_llen", {"calls": 0})["calls"]


@pytest.fixture
def valkey(valkey: ValkeyServer) -> ValkeyServer:
    valkey.client.config_resetstat()
    return valkey


def rings(bell: Bell, count: int) -> None:
    wait_for(lambda: bell.unheard() == count, message=lambda: f"{bell.unheard()} rings, not {count}")


def test_a_ring_wakes_one_worker(tmp_path: Path, bell: Bell) -> None:
    others = [Bell(tmp_path / "bells" / "pool") for _ in range(2)]
    bell.ring(1, most=3)
    assert sorted(other.wait(0) for other in others) == [False, True]
    assert not bell.wait(0)


def test_rings_are_kept_for_no_more_workers_than_there_are(bell: Bell) -> None:
    bell.ring(2, most=3)
    bell.ring(2, most=3)
    assert bell.unheard() == 3
    bell.ring(5, most=2)
    assert bell.unheard() == 3


def test_a_bell_outlives_who_rings_it(tmp_path: Path, bell: Bell) -> None:
    agent = Bell(tmp_path / "bells" / "pool")
    agent.ring(1, most=1)
    agent.close()
    assert bell.wait(0)
    assert not bell.wait(0)
    next_agent = Bell(tmp_path / "bells" / "pool")
    next_agent.ring(1, most=1)
    assert bell.wait(0)


def test_a_worker_is_woken_for_each_job_that_comes(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, listen: Callable[..., Ringer]
) -> None:
    listen(Listening(tmp_path / "bells" / "pool", ["mail", "bulk"], 8))
    valkey.client.rpush("rq:queue:mail", "a")
    rings(bell, 1)
    valkey.client.rpush("rq:queue:mail", "b", "c", "d")
    rings(bell, 4)
    valkey.client.rpush("rq:queue:bulk", "e")
    rings(bell, 5)
    valkey.client.rpush("rq:queue:other", "f")
    valkey.client.rpush("rq:queue:mail", *"ghijklmnop")
    rings(bell, 8)


def test_only_workers_of_the_queue_are_woken(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, listen: Callable[..., Ringer]
) -> None:
    other = Bell(tmp_path / "bells" / "other")
    listen(
        Listening(tmp_path / "bells" / "pool", ["mail"], 8),
        Listening(tmp_path / "bells" / "other", ["bulk", "mail"], 8),
    )
    valkey.client.rpush("rq:queue:bulk", "a")
    rings(other, 1)
    valkey.client.rpush("rq:queue:mail", "b")
    rings(other, 2)
    rings(bell, 1)


def test_nothing_is_asked_where_all_are_busy(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, listen: Callable[..., Ringer]
) -> None:
    other = Bell(tmp_path / "bells" / "other")
    listen(Listening(tmp_path / "bells" / "pool", ["mail"], 2), Listening(tmp_path / "bells" / "other", ["bulk"], 99))
    valkey.client.rpush("rq:queue:mail", *"abc")
    rings(bell, 2)
    before = lengths_asked(valkey.client)
    for n in range(20):
        valkey.client.rpush("rq:queue:mail", "d")
        valkey.client.rpush("rq:queue:bulk", "e")
        rings(other, n + 1)
    assert lengths_asked(valkey.client) - before == 20
    assert bell.wait(0)
    rings(bell, 2)  # one is idle again, and there are more jobs than before


def test_jobs_that_lie_and_may_not_be_taken_cost_nothing(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, listen: Callable[..., Ringer]
) -> None:
    """A limit, a suspension: workers that look and find nothing must not be woken again and again."""
    other = Bell(tmp_path / "bells" / "other")
    listen(Listening(tmp_path / "bells" / "pool", ["mail"], 2), Listening(tmp_path / "bells" / "other", ["bulk"], 99))
    valkey.client.rpush("rq:queue:mail", "a")
    rings(bell, 1)
    assert bell.wait(0)
    valkey.client.rpush("rq:queue:bulk", "b")
    rings(other, 1)
    assert bell.unheard() == 0


def test_a_broken_connection_is_made_again(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, listen: Callable[..., Ringer]
) -> None:
    listen(Listening(tmp_path / "bells" / "pool", ["mail"], 8))
    before = lengths_asked(valkey.client)
    for other in valkey.client.client_list():
        if other["lib-name"] and other["cmd"] == "llen":
            valkey.client.client_kill(other["addr"])
    wait_for(lambda: lengths_asked(valkey.client) > before, message="it asks anew")
    valkey.client.rpush("rq:queue:mail", "a")
    rings(bell, 1)
    valkey.client.flushall()
    valkey.client.rpush("rq:queue:mail", "b")
    rings(bell, 2)


def test_a_redis_that_does_not_tell_is_asked(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: Callable[..., Ringer]
) -> None:
    monkeypatch.setattr(ringer, "LOOK_SECONDS", 0.05)
    valkey.client.execute_command(
        "ACL", "SETUSER", "deaf", "on", ">word", "~*", "+llen", "+hello", "+auth", "+client|setinfo", "+select"
    )
    listen(Listening(tmp_path / "bells" / "pool", ["mail"], 3), url=valkey.url.replace("//", "//deaf:word@"))
    valkey.client.rpush("rq:queue:mail", "a")
    wait_for(lambda: bell.unheard() > 0, message="the bell rings")


def test_a_key_that_is_no_queue_keeps_no_queue_from_being_heard(
    valkey: ValkeyServer, bell: Bell, tmp_path: Path, listen: Callable[..., Ringer]
) -> None:
    valkey.client.set("rq:queue:bulk", "text")
    listen(Listening(tmp_path / "bells" / "pool", ["bulk", "mail"], 8))
    valkey.client.rpush("rq:queue:mail", "a")
    rings(bell, 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_workers_take_jobs_without_an_agent(host: AgentHost, tmp_path: Path, number: signal.Signals) -> None:
    uid, marker = new_uid(), tmp_path / "runs"
    host.configure(uid, spec(workers=2))
    host.start()
    host.wait_for_workers(uid, 2)
    queue = Queue("mail", connection=host.valkey.client)
    os.kill(host.pid, number)
    jobs = [queue.enqueue("tasks.mark", str(marker)) for _ in range(4)]
    wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=40, message=host.log)
    os.kill(host.pid, signal.SIGCONT)
    assert marker.read_text().count("\n") == 4


def test_a_worker_whose_bell_cannot_be_hung_looks_by_itself(host: AgentHost, tmp_path: Path) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    (host.state / "bells" / uid).mkdir(parents=True)
    host.start()
    host.wait_for_workers(uid, 1)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.mark", str(tmp_path / "runs"))
    wait_for(lambda: job.get_status() == "finished", timeout=40, message=host.log)


def test_a_worker_that_waits_hears_that_it_is_to_stop(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec(workers=3))
    host.start()
    host.wait_for_workers(uid, 3)
    host.command(uid, "draining")
    wait_for(lambda: not host.workers(uid), timeout=20, message=host.log)
    assert host.events("worker.lost") == []
