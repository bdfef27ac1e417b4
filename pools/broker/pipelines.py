"""Many commands, one round trip: pipelines without MULTI, whose commands fail one by one."""

from collections.abc import Iterable
from typing import Any

import redis

type Command = tuple[Any, ...]


class Pipelines:
    """Runs lists of commands, each list in one round trip, and counts the trips. A failed command answers its error."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.round_trips = 0

    def run(self, commands: Iterable[Command]) -> list[Any]:
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
        if not len(pipeline):
            return []
        self.round_trips += 1
        return pipeline.execute(raise_on_error=False)
