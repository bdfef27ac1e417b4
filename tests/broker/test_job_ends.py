"""How requeued jobs are read: raw, in bounded round trips, and changing nothing."""

import pickle
from pathlib import Path

import pytest
import redis

from pools.broker.connection import Broker, BrokerUnavailable
from pools.broker.job_ends import LIMIT, JobEnd, read_ends
from tests.broker.commands import counted
from tests.broker.jobs import Marker
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.support.valkey import ValkeyServer, free_port


def mail(*ids: str) -> list[tuple[str, str]]:
    return [(job_id, "mail") for job_id in ids]


def test_each_job_in_the_order_given(broker: Broker, client: redis.Redis) -> None:
    for job_id, status in {"a": "finished", "b": "queued", "c": "failed", "d": "started", "e": "canceled"}.items():
        write_failed(client, job_id, status=status)
    client.delete("rq:failed:mail")
    client.zadd("rq:finished:mail", {"gone-well": 2_000_000_000})
    client.zadd("rq:failed:mail", {"gone-badly": -1})
    found = read_ends(broker, mail("e", "gone", "a", "gone-badly", "b", "gone-well", "c", "d"))
    assert [end.value for end in found] == [
        "called_off",
        "gone",
        "succeeded",
        "failed",
        "waiting",
        "succeeded",
        "failed",
        "running",
    ]
    assert read_ends(broker, []) == []


def test_it_asks_once_a_job_and_twice_more_for_those_that_are_gone(broker: Broker, valkey: ValkeyServer) -> None:
    client = valkey.client
    ids = [f"job-{n}" for n in range(LIMIT)]
    write_failed(client, *ids[100:], status="queued")
    assert counted(valkey, lambda: read_ends(broker, mail(*ids))) == {"hget": LIMIT, "zscore": 200}
    with pytest.raises(ValueError, match="at most 1000"):
        read_ends(broker, mail(*ids, "one more"))


def test_it_changes_nothing_and_unpickles_nothing(broker: Broker, client: redis.Redis, tmp_path: Path) -> None:
    trap = tmp_path / "unpickled"
    write_failed(client, "a", status="finished", data=pickle.dumps(Marker(str(trap))))
    before = dump(client)
    read_ends(broker, mail("a", "b"))
    assert dump(client) == before and not trap.exists()


def test_keys_of_another_kind_hold_nobody_up(broker: Broker, client: redis.Redis) -> None:
    client.set("rq:job:text", "what is this")
    client.set("rq:finished:mail", "nor this")
    client.hset("rq:job:odd", "status", b"\xff\x00")
    assert read_ends(broker, mail("text", "odd", "none")) == [JobEnd.GONE, JobEnd.WAITING, JobEnd.GONE]


def test_a_broker_that_is_away_is_said(broker: Broker) -> None:
    with pytest.raises(BrokerUnavailable):
        read_ends(Broker("default", f"redis://127.0.0.1:{free_port()}/0"), mail("a"))
