"""The agent's ear for queues: it wakes idle workers when jobs arrive, so that they need not ask again and again.

Redis is asked for the lengths of the queues with ``CLIENT TRACKING`` on, and then says by itself, once, that one has
changed; whoever reads it anew is told of the next change. Nothing is written or taken, so nothing can be lost: jobs are
claimed by workers alone. Without an agent, or when it is deaf, workers still look every few seconds.
"""

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

from pools.runtime import connection
from pools.runtime.bell import Bell
from pools.runtime.keys import Keys

log = logging.getLogger("poolwarden.agent")

# Every length is read so often, changed or not. Where jobs lie and nobody took them (a limit, a suspension that has
# ended since), one worker looks again.
LOOK_SECONDS = 0.5
# A queue that never rests is not read more often than this, and where nobody is idle, than that.
SHORTEST_GAP, BUSY_GAP = 0.002, 0.05
RETRY_SECONDS = 1.0


def path(state: Path, pool_uid: str) -> Path:
    """Where a pool's bell hangs on this host."""
    return state / "bells" / pool_uid


@dataclass(frozen=True)
class Listening:
    """A pool's workers on this host, and the queues they wait for."""

    bell: Path
    queues: Sequence[str]
    workers: int


class Ringer(threading.Thread):
    """A thread with a connection of its own. No error ends it."""

    def __init__(self, url: str, keys: Keys) -> None:
        super().__init__(name="ringer", daemon=True)
        self.listening: Sequence[Listening] = ()
        self._prefix = f"{keys.rq_prefix}:queue:"
        self._client = connection.impatient(url, protocol=3)
        self._bells: dict[Path, Bell] = {}
        self._lengths: dict[str, int] = {}
        self._changed: set[str] = set()
        self._due = 0.0
        self._ending = threading.Event()

    def close(self) -> None:
        self._ending.set()

    def run(self) -> None:
        while not self._ending.is_set():
            try:
                self._listen()
            except (RedisError, OSError) as error:
                log.info("Queues are not listened to, workers look by themselves: %s", error)
            except Exception:  # this thread must live as long as the agent
                log.exception("Unexpected error while listening to queues")
            self._ending.wait(RETRY_SECONDS * random.uniform(0.5, 1))  # noqa: S311

    def _listen(self) -> None:
        """On a connection that Redis tells of changes, until it breaks: the next one is told of none before it asks."""
        line = self._client.connection_pool.get_connection()
        try:
            line._parser.set_invalidation_push_handler(self._note)
            line.send_command("CLIENT", "TRACKING", "ON")
            try:
                line.read_response()
            except ResponseError as error:
                log.warning("This Redis does not tell of changes, jobs may wait for half a second: %s", error)
            self._due = 0.0
            while not self._ending.is_set():
                self._step(line)
        finally:
            line.disconnect()
            self._client.connection_pool.release(line)

    def _step(self, line: Any) -> None:
        pools = [pool for pool in self.listening if pool.workers]
        bells = {pool.bell: self._bell(pool.bell) for pool in pools}
        idle = [pool for pool in pools if bells[pool.bell].unheard() < pool.workers]
        waited_for = {queue for pool in idle for queue in pool.queues}
        everything = time.monotonic() >= self._due
        if everything:
            self._due = time.monotonic() + LOOK_SECONDS
        reading = sorted(waited_for if everything else waited_for & self._changed)
        if reading:
            arrived = self._arrived(line, reading, everything)
            for pool in idle:
                times = sum(arrived.get(queue, 0) for queue in pool.queues)
                bells[pool.bell].ring(times, most=pool.workers)
            time.sleep(SHORTEST_GAP)
        wait = BUSY_GAP if len(idle) < len(pools) else max(0.0, self._due - time.monotonic())
        if not self._changed & waited_for and line.can_read(wait):
            line.read_response(push_request=True)

    def _arrived(self, line: Any, queues: Sequence[str], everything: bool) -> dict[str, int]:
        """For each queue that holds jobs, how many workers are to look: as many as jobs have come, or one."""
        self._changed.difference_update(queues)  # before it is read: what changes from now on is told anew
        line.send_packed_command(line.pack_commands([("LLEN", self._prefix + queue) for queue in queues]))
        arrived = {}
        for queue in queues:
            length = _length(line)
            arrived[queue] = max(length - self._lengths.get(queue, 0), min(length, 1))
            self._lengths[queue] = length
        return arrived

    def _note(self, message: Any) -> None:
        """Redis says which keys changed; None when all did (FLUSHALL)."""
        keys = message[1]
        if keys is None:
            self._due = 0.0
            return
        for key in keys:
            self._changed.add(key.decode(errors="surrogateescape").removeprefix(self._prefix))

    def _bell(self, where: Path) -> Bell:
        if where not in self._bells:
            self._bells[where] = Bell(where)
        return self._bells[where]


def _length(line: Any) -> int:
    """A key of another type is no queue, and must not keep the others from being heard."""
    try:
        return int(line.read_response())
    except ResponseError:
        return 0
