"""Is a worker's process still there? The broker's own list of connections knows at once.

RQ 3.0 gives its first connection the worker's name and subscribes to ``PREFIX:pubsub:NAME`` on another. The kernel
closes both when the process dies. After a lost connection redis-py restores the subscription but not the name, so
either of the two is a sign of life.
"""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pools.broker import fields
from pools.broker.rq_keys import RqKeys

RECONNECT_GRACE = 90.0
"""Seconds after the broker's start in which workers of before may still be reconnecting (RQ waits up to 60)."""


class Liveness:
    """Judges workers by one answer to each of ``commands``; ``at`` is the broker's clock."""

    def __init__(self, at: float, rq: RqKeys, answers: list[Any]) -> None:
        clients, channels, server = answers
        self.both_seen = isinstance(clients, list) and isinstance(channels, list)
        listening = rq.commands("")
        self.names = {fields.text(client.get("name")) for client in clients} if isinstance(clients, list) else set()
        self.names |= {fields.text(channel).removeprefix(listening) for channel in fields.listed(channels)}
        uptime = server.get("uptime_in_seconds") if isinstance(server, dict) else None
        self.up_since: int | None = None
        if uptime is not None and uptime < RECONNECT_GRACE:
            self.up_since = math.floor(at) - uptime + 1  # the broker counts whole seconds

    @staticmethod
    def commands(rq: RqKeys) -> Iterable[tuple[str, ...]]:
        return [("CLIENT LIST",), ("PUBSUB CHANNELS", rq.commands("*")), ("INFO", "server")]

    def connected(self, name: str, birth: datetime | None) -> bool | None:
        """True: a connection of the worker is open. False: it had one on this run of the broker and has none now.

        None: cannot be told, because our user may not ask or the broker has just restarted. A worker that loses its
        connection looks gone until it reconnects (2 s): who calls a worker dead should have seen it gone twice.
        """
        if name in self.names:
            return True
        if not self.both_seen:
            return None
        if self.up_since is not None and (birth is None or birth.timestamp() < self.up_since):
            return None
        return False
