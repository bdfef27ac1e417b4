"""Scheduled jobs whose time has come, moved to their queues. Any agent may do it at any moment: no leader is needed."""

import time
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

PROMOTE = files("pools.runtime").joinpath("lua", "promote.lua").read_text()
# Bounds one script call: some 5 ms in which Redis does nothing else. The rest is due again a second later.
MOST_AT_ONCE = 500
# What rq's scheduler gives to a job without a timeout.
RQ_DEFAULT_TIMEOUT = 180


def promote(connection: Any, rq_prefix: str, queue: str) -> Any:
    """Promote the due jobs of one queue, through a client or a pipeline. Returns how many, from a client."""
    now = time.time()
    written = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return connection.eval(
        PROMOTE,
        4,
        f"{rq_prefix}:scheduled:{queue}",
        f"{rq_prefix}:queue:{queue}",
        f"{rq_prefix}:scheduler-lock:{queue}",
        f"{rq_prefix}:rl-keys",
        rq_prefix,
        queue,
        int(now),
        written,
        MOST_AT_ONCE,
        RQ_DEFAULT_TIMEOUT,
    )
