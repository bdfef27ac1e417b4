"""Whether this host's clock agrees with the broker's. It dates leases, which other hosts judge by theirs: the jobs of a
worker whose clock is an hour behind would all look lost while they run.
"""

import time
from typing import Any

from pools.runtime.connection import UNAVAILABLE

MOST_SECONDS = 20
"""A lease is renewed when it has a minute left."""


def fault(asked: float, answer: tuple[int, int]) -> str:
    """What is wrong, as a sentence; empty: nothing. ``answer``: the broker's to TIME, asked then (Unix time)."""
    now, broker = time.time(), answer[0] + answer[1] / 1e6
    if asked - MOST_SECONDS <= broker <= now + MOST_SECONDS:
        return ""
    off = f"{abs(now - broker):,.0f} s {'ahead of' if now > broker else 'behind'}"
    return f"This host's clock is {off} the broker's. No worker runs here until it is right."


def ask(client: Any) -> str:
    """``fault``, or empty when the broker is away: workers start without it."""
    asked = time.time()
    try:
        return fault(asked, client.time())
    except UNAVAILABLE:
        return ""
