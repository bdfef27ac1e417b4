"""Cron entries with real agents: several at once, killed while they enqueue, paused, and with nothing but a broker."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

MINUTE = 60


def entry(**changes: Any) -> dict[str, Any]:
    base = {"name": "tick", "task": "tasks.add", "schedule": "* * * * *", "args": [1, 2]}
    return base | {"overlap": "allow", "catch_up": "all"} | changes


@pytest.fixture
def hosts(tmp_path: Path, valkey: ValkeyServer) -> Iterator[list[AgentHost]]:
    """Three hosts of one installation, not started yet."""
    first = AgentHost(tmp_path / "host-0", valkey, name="host-0")
    made = [first]
    for number in (1, 2):
        made.append(AgentHost(tmp_path / f"host-{number}", valkey, f"host-{number}", simulator=first.simulator))
    yield made
    for host in made:
        host.close()


def miss(host: AgentHost, uid: str, minutes: int, name: str = "tick") -> int:
    """Make it so that the last ``minutes`` slots were not dealt with; returns the newest that was."""
    slot = int(time.time()) // MINUTE * MINUTE - minutes * MINUTE
    host.valkey.client.hset(host.keys.cron(uid), f"{name}:slot", slot)
    return slot


def adopted(host: AgentHost, uid: str, version: int = 1) -> bool:
    return bool(host.valkey.client.hget(host.keys.cron(uid), "version") == str(version).encode())


def queued(host: AgentHost) -> list[bytes]:
    return list(host.valkey.client.lrange("rq:queue:mail", 0, -1))


def early_in_a_minute() -> None:
    """So that no slot of its own begins between two steps of a test."""
    wait_for(lambda: time.time() % 60 < 35, message="the next minute")


def test_slots_are_enqueued_once_by_three_agents_of_which_one_is_killed_again_and_again(
    hosts: list[AgentHost],
) -> None:
    uid, first = new_uid(), hosts[0]
    first.configure(uid, spec(workers=0, cron=[entry()]))
    for host in hosts:
        host.start()
    wait_for(lambda: adopted(first, uid), timeout=30, message=f"adopted: {first.log()}")
    wait_for(lambda: all(host.pool(uid) for host in hosts), timeout=30, message="all three serve the pool")
    for turn in range(3):
        early_in_a_minute()
        before = len(queued(first))
        victim = hosts[turn]
        for raw in queued(first):  # as if these slots had never been enqueued
            first.valkey.client.delete(f"rq:job:{raw.decode()}")
        miss(first, uid, 90)
        wait_for(lambda before=before: len(queued(first)) > before, timeout=30, message="somebody began")
        victim.kill()
        wait_for(lambda before=before: len(queued(first)) - before >= 90, timeout=30, message="another goes on")
        victim.start()
        found = queued(first)[before:]
        assert len(found) == len(set(found)), "no slot twice"
        assert found == sorted(found), "in order"
        assert len(found) in (90, 91), "and none left out; a minute may have passed"


def test_a_paused_pool_enqueues_nothing_and_what_it_missed_follows_the_entry(hosts: list[AgentHost]) -> None:
    uid, host = new_uid(), hosts[0]
    entries = [entry(), entry(name="last", catch_up="last")]
    host.configure(uid, spec(workers=0, cron=entries))
    host.command(uid, "paused")
    host.start()
    wait_for(lambda: host.pool(uid).get("run_state") == "paused", timeout=30, message="paused")
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 2, message="its clock was looked at")
    assert host.valkey.client.hgetall(host.keys.cron(uid)) == {}, "nobody looked at the clock for it"
    host.command(uid, "running")
    wait_for(lambda: adopted(host, uid), timeout=30, message="resumed")
    early_in_a_minute()
    host.command(uid, "paused")
    wait_for(lambda: host.pool(uid).get("run_state") == "paused", timeout=30, message="paused again")
    miss(host, uid, 5)
    miss(host, uid, 5, "last")
    began = time.monotonic()
    wait_for(lambda: time.monotonic() > began + 2, message="its clock was looked at")
    assert queued(host) == []
    host.command(uid, "running")
    wait_for(lambda: len(queued(host)) >= 6, timeout=30, message="caught up")
    by_entry = [raw.decode().split("-")[1] for raw in queued(host)]
    assert by_entry.count("tick") in (5, 6)
    assert by_entry.count("last") in (1, 2)


def test_an_agent_that_restarts_without_a_controller_goes_on(hosts: list[AgentHost]) -> None:
    """Fail static: the config on its disk is enough; the console's keys are gone from the broker."""
    uid, host = new_uid(), hosts[0]
    host.configure(uid, spec(workers=0, cron=[entry()]))
    host.start()
    wait_for(lambda: adopted(host, uid), timeout=30, message="adopted")
    host.kill()
    host.valkey.client.delete(host.keys.config(uid), host.keys.run(uid), host.keys.desired)
    miss(host, uid, 3)
    host.start()
    wait_for(lambda: len(queued(host)) in (3, 4), timeout=30, message="enqueued")


def test_a_cron_job_runs_in_the_pools_workers_and_knows_its_slot(hosts: list[AgentHost]) -> None:
    uid, host = new_uid(), hosts[0]
    host.configure(uid, spec(workers=1, serializer="json", cron=[entry(catch_up="last")]))
    host.start()
    wait_for(lambda: adopted(host, uid), timeout=30, message="adopted")
    miss(host, uid, 1)
    wait_for(lambda: host.valkey.client.zcard("rq:finished:mail") >= 1, timeout=40, message=f"ran: {host.log()}")
    assert host.valkey.client.zrange("rq:finished:mail", 0, -1)[0].startswith(b"cron-tick-")
