"""Agents' heartbeats as they lie on the broker: unsigned JSON that anybody with Redis access may have written."""

import json
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker

HEARTBEAT_LIMIT = 1_000_000
NEEDED = {
    "agent": str,
    "host": str,
    "pid": int,
    "boot": str,
    "seq": int,
    "at": int | float,
    "pools": list,
    "workers": list,
}


def read_heartbeats(broker: Broker) -> list[dict[str, Any]]:
    """The readable heartbeats, by agent name. Raises BrokerUnavailable."""
    with broker.use() as client:
        return parse_heartbeats(client.hgetall(broker.keys.agents))[0]


def parse_heartbeats(entries: Any) -> tuple[list[dict[str, Any]], int]:
    """The readable heartbeats of ``HGETALL pw:agents``, by agent name, and how many were not readable."""
    if not isinstance(entries, dict):
        return [], 0
    parsed = [_parse(name, raw) for name, raw in entries.items()]
    heartbeats = [heartbeat for heartbeat in parsed if heartbeat is not None]
    return sorted(heartbeats, key=lambda heartbeat: str(heartbeat["agent"])), len(parsed) - len(heartbeats)


def _parse(name: bytes, raw: bytes) -> dict[str, Any] | None:
    if len(raw) > HEARTBEAT_LIMIT:
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("agent") != fields.text(name):
        return None
    if any(not isinstance(found.get(key), kind) for key, kind in NEEDED.items()):
        return None
    if not _named(found["pools"], "pool_uid") or not _named(found["workers"], "name"):
        return None
    return found


def _named(items: list[Any], key: str) -> bool:
    return all(isinstance(item, dict) and isinstance(item.get(key), str) for item in items)
