"""What workers and agents report: a stream with a consumer group, and the table of heartbeats."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.heartbeats import parse_heartbeats
from pools.broker.scripts import script

GROUP = "console"
ABANDONED_AFTER_MS = 30_000
"""An event that a consumer took and did not acknowledge for so long belongs to the next one: its controller is dead."""
BLOCK_LIMIT_MS = 5_000
"""Well below the time in which the client gives up on an answer."""
BODY_LIMIT = 256_000
MALFORMED = "malformed"


@dataclass(frozen=True)
class Event:
    """``id`` orders events and never repeats. One that cannot be read has the type ``MALFORMED`` and an empty body."""

    id: str
    type: str
    body: dict[str, Any]


def read_events(broker: Broker, consumer: str, count: int, block_ms: int) -> list[Event]:
    """The next events for ``consumer``, at most ``count``; waits for them ``block_ms``, at most 5 s (0: not at all).

    First those it took before and never acknowledged, then those of consumers that went silent, then new ones: every
    event is delivered at least once until ``ack``. Creates the group, from the stream's beginning, when it is missing.
    Raises BrokerUnavailable.
    """
    with broker.use() as client:
        try:
            return _read(client, broker.keys.events, consumer, count, block_ms)
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
        _create_group(client, broker.keys.events)
        return _read(client, broker.keys.events, consumer, count, block_ms)


def _create_group(client: redis.Redis, stream: str) -> None:
    try:
        client.xgroup_create(stream, GROUP, id="0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def _read(client: redis.Redis, stream: str, consumer: str, count: int, block_ms: int) -> list[Event]:
    pipeline = client.pipeline(transaction=False)
    pipeline.xreadgroup(GROUP, consumer, {stream: "0"}, count=count)
    pipeline.xautoclaim(stream, GROUP, consumer, min_idle_time=ABANDONED_AFTER_MS, count=count)
    own, claimed = pipeline.execute()
    entries = dict(_entries(own)) | dict(claimed[1])
    trimmed = [entry_id for entry_id, raw in entries.items() if not raw]
    if trimmed:
        client.xack(stream, GROUP, *trimmed)
    waiting = sorted((entry for entry in entries.items() if entry[1]), key=lambda entry: _order(entry[0]))
    if not waiting:
        block = min(block_ms, BLOCK_LIMIT_MS) or None
        waiting = _entries(client.xreadgroup(GROUP, consumer, {stream: ">"}, count=count, block=block))
    return [_event(entry_id, raw) for entry_id, raw in waiting[:count]]


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    return list(answer[0][1]) if answer else []


def _order(entry_id: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry_id.split(b"-"))


def _event(entry_id: bytes, raw: dict[bytes, bytes]) -> Event:
    kind, body = raw.get(b"type", b""), raw.get(b"body", b"")
    try:
        parsed = json.loads(body) if len(body) <= BODY_LIMIT else None
    except (ValueError, RecursionError):
        parsed = None
    if not kind or not isinstance(parsed, dict):
        return Event(entry_id.decode(), MALFORMED, {})
    return Event(entry_id.decode(), fields.text(kind, 100), parsed)


def ack(broker: Broker, ids: Sequence[str]) -> int:
    """Mark events as done for good, after what they caused is committed; how many of them were still open."""
    if not ids:
        return 0
    with broker.use() as client:
        return int(client.xack(broker.keys.events, GROUP, *ids))


def sweep_agents(broker: Broker, older_than: float) -> int:
    """Forget agents whose last heartbeat is ``older_than`` seconds old, and entries nobody can read; returns how many.

    An agent that speaks up in between stays: an entry goes only while it is still the one that was judged.
    """
    with broker.use() as client:
        now = float(client.time()[0])
        entries = client.hgetall(broker.keys.agents)
        fresh = {heartbeat["agent"] for heartbeat in parse_heartbeats(entries)[0] if heartbeat["at"] > now - older_than}
        stale = [part for name, raw in entries.items() if fields.text(name) not in fresh for part in (name, raw)]
        return int(script(client, "forget")(keys=[broker.keys.agents], args=stale)) if stale else 0
