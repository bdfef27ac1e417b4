"""The installation's own Valkey, looked at from outside: what agents say, and when jobs really ran."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import redis

from tests.support.installation import Installation
from tests.support.waiting import wait_for

Heartbeat = dict[str, Any]


def broker_of(installation: Installation) -> redis.Redis:
    config = (installation.home / "valkey" / "valkey.conf").read_text()
    port, password = re.search(r"^port (\d+)$", config, re.M), re.search(r"^requirepass (\S+)$", config, re.M)
    assert port and password
    return redis.Redis(port=int(port[1]), password=password[1])


def heartbeat_of(broker: redis.Redis, agent: str = "local") -> Heartbeat:
    raw = broker.hget("pw:agents", agent)
    return json.loads(raw) if raw else {}


def serving(heartbeat: Heartbeat, pool: str) -> dict[str, Any]:
    """What the agent says of one pool."""
    return next((each for each in heartbeat.get("pools", []) if each["pool"] == pool), {})


def workers(heartbeat: Heartbeat, pool: str, *states: str) -> list[dict[str, Any]]:
    uid = serving(heartbeat, pool).get("pool_uid")
    return [w for w in heartbeat.get("workers", []) if w["pool_uid"] == uid and w["state"] in states]


def started_at(broker: redis.Redis, queue: str) -> list[float]:
    """When each job of the queue that runs or finished was started, as RQ wrote it; unix seconds."""
    kept = ("rq:finished:", "rq:wip:", "rq:failed:")
    entries: list[bytes] = [entry for key in kept for entry in cast("list[bytes]", broker.zrange(key + queue, 0, -1))]
    ids = [entry.decode().partition(":")[0] for entry in entries]
    with broker.pipeline(transaction=False) as pipeline:
        for job in ids:
            pipeline.hget(f"rq:job:{job}", "started_at")
        return [datetime.fromisoformat(raw.decode()).timestamp() for raw in pipeline.execute() if raw]


class Heard:
    """Every heartbeat of an agent, with the moment at which it stood on the broker."""

    def __init__(self) -> None:
        self.beats: list[tuple[float, Heartbeat]] = []

    def first(self, holds: Callable[[Heartbeat], object], since: float, message: str) -> float:
        """When, in unix seconds, a heartbeat first held after ``since``; waits for it."""

        def find() -> float:
            return next((at for at, beat in list(self.beats) if at >= since and holds(beat)), 0.0)

        return wait_for(find, timeout=30, message=message)


@contextmanager
def listening(broker: redis.Redis, agent: str = "local") -> Iterator[Heard]:
    """Read the heartbeat all the time, whatever the browser is busy with."""
    heard, stop = Heard(), threading.Event()

    def listen() -> None:
        last = None
        while not stop.wait(0.02):
            beat = heartbeat_of(broker, agent)
            if beat and beat["seq"] != last:
                heard.beats.append((time.time(), beat))
                last = beat["seq"]

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    yield heard
    stop.set()
    thread.join()
