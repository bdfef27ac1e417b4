"""The event stream: delivered at least once, to whoever leads, whatever lies in it."""

import json
import threading
import time

import redis

from pools.broker import events
from pools.broker.connection import Broker
from pools.broker.events import Event, ack, read_events, sweep_agents


def add(client: redis.Redis, kind: str, **body: object) -> str:
    return client.xadd("pw:events", {"type": kind, "body": json.dumps(body)}).decode()  # type: ignore[union-attr]


def read(broker: Broker, consumer: str = "c1", count: int = 10) -> list[Event]:
    return read_events(broker, consumer, count, 0)


def pending(client: redis.Redis) -> int:
    return int(client.xpending("pw:events", events.GROUP)["pending"])


def test_events_of_before_the_first_reader_are_read(broker: Broker, client: redis.Redis) -> None:
    first, second = add(client, "job.failed", job_id="é"), add(client, "worker.lost", worker="w")
    assert read(broker) == [Event(first, "job.failed", {"job_id": "é"}), Event(second, "worker.lost", {"worker": "w"})]
    assert ack(broker, [first, second]) == 2
    assert read(broker) == []
    assert pending(client) == 0


def test_an_empty_broker_has_none(broker: Broker) -> None:
    assert read(broker) == []
    assert ack(broker, []) == 0
    assert ack(broker, ["1-1"]) == 0


def test_what_was_not_acknowledged_comes_again_before_what_is_new(broker: Broker, client: redis.Redis) -> None:
    ids = [add(client, "e", n=n) for n in range(5)]
    assert [event.id for event in read(broker, count=2)] == ids[:2]
    assert [event.id for event in read(broker, count=10)] == ids[:2]
    ack(broker, ids[:2])
    assert [event.id for event in read(broker, count=10)] == ids[2:]


def test_a_dead_controllers_events_go_to_the_next(broker: Broker, client: redis.Redis) -> None:
    ids = [add(client, "e", n=n) for n in range(3)]
    assert len(read(broker, "dead")) == 3
    assert read(broker, "next") == [], "it may still be alive"
    idle = events.ABANDONED_AFTER_MS + 1
    client.xclaim("pw:events", events.GROUP, "dead", 0, ids, idle=idle, justid=True)
    assert [event.id for event in read(broker, "next")] == ids
    ack(broker, ids)
    assert pending(client) == 0


def test_events_that_were_trimmed_away_are_let_go(broker: Broker, client: redis.Redis) -> None:
    gone = add(client, "e", n=1)
    assert len(read(broker)) == 1
    client.xdel("pw:events", gone)
    kept = add(client, "e", n=2)
    assert [event.id for event in read(broker)] == [kept]
    assert pending(client) == 1


def test_malformed_events_hold_nobody_up(broker: Broker, client: redis.Redis) -> None:
    bodies = [b"{", b"[]", b"\xff", b"null", b"[" * 100_000, b'{"a":"' + b"x" * 300_000 + b'"}']
    ids = [client.xadd("pw:events", {"type": "e", "body": body}).decode() for body in bodies]  # type: ignore[union-attr]
    ids.append(client.xadd("pw:events", {"other": "x"}).decode())  # type: ignore[union-attr]
    good = add(client, "e", n=1)
    found = read(broker)
    assert found == [*(Event(event_id, events.MALFORMED, {}) for event_id in ids), Event(good, "e", {"n": 1})]
    ack(broker, [event.id for event in found])
    assert read(broker) == []


def test_a_reader_waits_for_an_event(broker: Broker, client: redis.Redis) -> None:
    read(broker)
    found: list[Event] = []
    reader = threading.Thread(target=lambda: found.extend(read_events(broker, "c1", 10, 60_000)))
    reader.start()
    began = time.monotonic()
    event_id = add(client, "e", n=1)
    reader.join(timeout=10)
    assert [event.id for event in found] == [event_id]
    assert time.monotonic() - began < 5
    assert read_events(broker, "c2", 10, 50) == []


def test_a_lost_stream_is_made_again(broker: Broker, client: redis.Redis) -> None:
    read(broker)
    client.delete("pw:events")
    event_id = add(client, "e", n=1)
    assert [event.id for event in read(broker)] == [event_id]


def test_agents_long_silent_are_forgotten(broker: Broker, client: redis.Redis) -> None:
    def heartbeat(agent: str, at: float) -> str:
        head = {"agent": agent, "host": "h", "pid": 1, "boot": "b", "seq": 1, "at": at, "pools": [], "workers": []}
        return json.dumps(head)

    now = time.time()
    entries = {"fresh": heartbeat("fresh", now - 10), "old": heartbeat("old", now - 90_000), "broken": "{"}
    client.hset("pw:agents", mapping=entries)  # type: ignore[arg-type]
    assert sweep_agents(broker, 86_400) == 2
    assert client.hkeys("pw:agents") == [b"fresh"]
    assert sweep_agents(broker, 86_400) == 0
