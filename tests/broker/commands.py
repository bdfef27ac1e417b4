"""What a server was asked, by its own count."""

from collections.abc import Callable

import redis

from tests.support.valkey import ValkeyServer

OWN = {"config|resetstat", "info", "client|setinfo", "client|setname", "hello", "select", "ping", "auth"}


def counted(server: ValkeyServer, action: Callable[[], object]) -> dict[str, int]:
    """Run ``action``; command → calls, without those of connecting and counting."""
    with redis.Redis.from_url(server.url) as client:
        client.config_resetstat()
        action()
        stats = client.info("commandstats")
    found = {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}
    return {name: calls for name, calls in found.items() if name not in OWN}
