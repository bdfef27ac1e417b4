"""What agents say their workers found in force, live from their heartbeats: it changes only when workers start."""

from dataclasses import dataclass
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.heartbeats import read_heartbeats

MOST_CONTROLS, LONGEST = 32, 400


@dataclass(frozen=True)
class Control:
    """``how``: what is in force, or why not."""

    name: str
    holds: bool
    how: str


def controls_of(broker: Broker, pool_uid: str) -> dict[str, list[Control]]:
    """Agent → the controls that its workers of the pool attest; none without isolation. Raises BrokerUnavailable."""
    found = {}
    for heartbeat in read_heartbeats(broker):
        said = [pool.get("isolation") for pool in heartbeat["pools"] if pool["pool_uid"] == pool_uid]
        found[fields.text(heartbeat["agent"])] = _controls(said[0] if said else None)
    return found


def _controls(said: Any) -> list[Control]:
    """Anybody who may write to the broker may have written it: whatever has another shape is left out."""
    entries = said.items() if isinstance(said, dict) else []
    return [
        Control(fields.text(name, LONGEST), bool(one[0]), fields.text(one[1], LONGEST))
        for name, one in list(entries)[:MOST_CONTROLS]
        if isinstance(one, list) and len(one) == 2
    ]
