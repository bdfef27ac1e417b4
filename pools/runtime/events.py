"""The stream in which agents and workers report what happened. The console's ingester is its reader."""

import json
import time
from typing import Any

MAX_LENGTH = 100_000
CONSUMER_GROUP = "console"


def append(connection: Any, stream: str, kind: str, body: dict[str, Any]) -> None:
    """Add one event through a client, or a pipeline when it must commit with other writes. ``at`` defaults to now."""
    entry = {"type": kind, "body": json.dumps({"at": time.time()} | body, separators=(",", ":"))}
    connection.xadd(stream, entry, maxlen=MAX_LENGTH, approximate=True)
