"""Scheduled jobs whose time has come, moved to their queues by any agent: one script call is one complete step.

Nothing due costs the broker a few microseconds a queue. Who meets more than one call can move has the queue for a
second (``lua/promote.lua``), so that of many agents one works off a backlog, and the others stand back meanwhile.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from pools.runtime.keys import Keys

PROMOTE = files("pools.runtime").joinpath("lua", "promote.lua").read_text()
# A call's length follows how long the last one took: meanwhile Redis serves nobody else.
LEAST_AT_ONCE, MOST_AT_ONCE = 50, 250
LONGEST_CALL_SECONDS = 0.005
# How long one look may go on, so that the agent's heartbeat keeps its pace. The rest is due again a second later.
BUDGET_SECONDS = 0.5
BACKLOG_LEASE_MS = 1000
# What rq's scheduler gives to a job without a timeout.
RQ_DEFAULT_TIMEOUT = 180


class Promoter:
    def __init__(self, keys: Keys, agent: str) -> None:
        self._keys = keys
        self._agent = agent
        self._at_once = MOST_AT_ONCE

    def tick(self, client: Any, queues: Sequence[str]) -> int:
        """Promote what is due in these queues, by the broker's clock; returns how many. Raises redis errors."""
        deadline = time.monotonic() + BUDGET_SECONDS
        moved = 0
        at, waiting = self._due(client, queues)
        while waiting and time.monotonic() < deadline:
            for queue in list(waiting):
                at_once = self._at_once
                count = self._promote(client, queue, at, at_once)
                moved += count
                if count < at_once:
                    waiting.remove(queue)
        return moved

    def _due(self, client: Any, queues: Sequence[str]) -> tuple[datetime, list[str]]:
        """The broker's time, and the queues whose first scheduled job is due."""
        with client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for queue in queues:
                pipeline.zrange(f"{self._keys.rq_prefix}:scheduled:{queue}", 0, 0, withscores=True)
            (seconds, microseconds), *firsts = pipeline.execute()
        at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
        due = [queue for queue, first in zip(queues, firsts, strict=True) if first and first[0][1] <= seconds]
        return at, due

    def _promote(self, client: Any, queue: str, at: datetime, at_once: int) -> int:
        prefix = self._keys.rq_prefix
        keys = [f"{prefix}:{kind}:{queue}" for kind in ("scheduled", "queue", "scheduler-lock")]
        keys += [f"{prefix}:rl-keys", self._keys.promoting(queue)]
        written = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        arguments = [prefix, queue, int(at.timestamp()), written, at_once, RQ_DEFAULT_TIMEOUT]
        began = time.monotonic()
        count = int(client.register_script(PROMOTE)(keys, [*arguments, self._agent, BACKLOG_LEASE_MS]))
        self._adapt(time.monotonic() - began)
        return count

    def _adapt(self, taken: float) -> None:
        if taken > LONGEST_CALL_SECONDS:
            self._at_once = max(LEAST_AT_ONCE, self._at_once // 2)
        elif taken < LONGEST_CALL_SECONDS / 2:
            self._at_once = min(MOST_AT_ONCE, self._at_once + LEAST_AT_ONCE)
