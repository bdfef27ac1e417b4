"""Who is taken for dead: only a worker that is silent together with its agent, for long enough, seen without a gap."""

import json
from typing import Any

import pytest

from pools.runtime.keys import Keys
from pools.runtime.watch import Watch
from tests.support.valkey import ValkeyServer

KEYS = Keys()
SURROGATE = r'{"workers": [{"name": "\ud800", "pool_uid": "uid", "pid": 7, "config": 3}]}'  # no key can be named so


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def watch() -> Watch:
    return Watch(KEYS, "looker")


def beat(client: Any, agent: str, sequence: int = 1, worker: str = "w") -> None:
    workers = [{"name": worker, "pool_uid": "uid", "pid": 7, "config": 3, "state": "running"}]
    client.hset(KEYS.agents, agent, json.dumps({"agent": agent, "seq": sequence, "workers": workers}))


def over(watch: Watch, client: Any, begin: float, end: float, *, every: float = 1.0) -> list[str]:
    """Look from second ``begin`` to ``end``; the workers found silent meanwhile."""
    found = []
    while begin <= end:
        found += [silent.worker for silent in watch.look(client, begin)]
        begin += every
    return found


def test_worker_silent_with_its_agent_is_found_once(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    client.hset("rq:worker:w", "last_heartbeat", "then")
    assert over(watch, client, 100, 111) == []
    (silent,) = [found for second in range(112, 116) for found in watch.look(client, float(second))]
    assert (silent.agent, silent.worker, silent.pool_uid, silent.config) == ("host-1", "w", "uid", 3)
    assert over(watch, client, 116, 140) == []


def test_worker_that_speaks_again_and_then_dies_is_found_again(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    client.hset("rq:worker:w", "last_heartbeat", "then")
    assert over(watch, client, 100, 116) == ["w"]
    client.hset("rq:worker:w", "last_heartbeat", "later")
    assert over(watch, client, 117, 135) == ["w"]


def test_worker_without_a_trace_is_not_asked_for_again(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    assert over(watch, client, 100, 120) == ["w"]
    client.config_resetstat()
    assert over(watch, client, 121, 123) == []
    assert "cmdstat_smembers" not in client.info("commandstats")


def test_worker_that_beats_without_its_agent_is_left_alone(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    for begin in range(100, 160, 10):
        client.hset("rq:worker:w", "last_heartbeat", begin)
        assert over(watch, client, begin, begin + 9) == []


def test_worker_that_has_just_started_a_job_is_left_alone(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    client.hset("rq:worker:w", "last_heartbeat", "then")
    assert over(watch, client, 100, 109) == []
    client.sadd("rq:worker:w:executions", "job:run")
    assert over(watch, client, 110, 121) == []
    assert over(watch, client, 122, 126) == ["w"]


def test_silent_worker_of_an_agent_that_beats_is_its_agents_to_judge(client: Any, watch: Watch) -> None:
    for second in range(100, 140):
        beat(client, "host-1", second)
        assert over(watch, client, second, second) == []


def test_outage_starts_the_clock_anew(client: Any, watch: Watch) -> None:
    """While Redis was away nobody could give a sign of life."""
    beat(client, "host-1")
    assert over(watch, client, 100, 110) == []
    watch.forget()
    assert over(watch, client, 170, 181) == []
    assert over(watch, client, 182, 186) == ["w"]


def test_pause_of_the_looker_starts_the_clock_anew(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    assert over(watch, client, 100, 105) == []
    assert over(watch, client, 135, 146) == []


def test_one_agent_looks_and_another_takes_over(client: Any, watch: Watch) -> None:
    beat(client, "host-1")
    other = Watch(KEYS, "second")
    for second in range(100, 120):
        watch.look(client, second)
        assert other.look(client, second) == []
    client.delete(KEYS.reaper)
    assert over(other, client, 120, 140) == ["w"]


@pytest.mark.parametrize(
    "raw", ["", "[]", "{", '{"workers": 3}', '{"workers": [{"pid": 1}]}', '{"workers": ["x"]}', SURROGATE]
)
def test_heartbeat_that_is_none_stops_nothing(client: Any, watch: Watch, raw: str) -> None:
    client.hset(KEYS.agents, "forged", raw)
    beat(client, "host-1")
    assert over(watch, client, 100, 114) == ["w"]
