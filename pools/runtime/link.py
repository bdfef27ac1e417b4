"""The agent's only speaker of Redis: a thread, so that a broker that hangs never holds up supervision."""

import json
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from redis.exceptions import RedisError, ResponseError

from pools.runtime import connection, events
from pools.runtime.connection import UNAVAILABLE
from pools.runtime.intake import Offer
from pools.runtime.keys import Keys
from pools.runtime.promoter import promote
from pools.runtime.reaper import Order, reap
from pools.runtime.store import POOL_UID
from pools.runtime.watch import Silent, Watch

log = logging.getLogger("poolwarden.agent")

CYCLE_SECONDS = 0.5
SLOW_CYCLE_SECONDS = 1.0  # heartbeat (sooner when something changed), promotion
AUDIT_SECONDS = 2.0  # every envelope is read again, whatever the hint says
UPKEEP_SECONDS = 60
LONGEST_BACKOFF = 5.0
MOST_EVENTS = 1000


@dataclass(frozen=True)
class Outgoing:
    """What the agent has to say at this moment; the newest one counts. Nothing is said until there is something.

    ``picture`` differs when something but the time did: then the heartbeat does not wait for its second.
    """

    heartbeat: str = ""
    picture: str = ""
    unsettled: frozenset[str] = frozenset()
    served: frozenset[str] = frozenset()
    queues: Sequence[str] = ()


@dataclass(frozen=True)
class News:
    """``tidy``: pools whose upkeep lease this agent has just got. ``silent``: workers of hosts that fell silent."""

    offers: list[Offer] = field(default_factory=list)
    tidy: list[str] = field(default_factory=list)
    silent: list[Silent] = field(default_factory=list)


class Link(threading.Thread):
    """Reads what is wanted twice a second; sends heartbeats, events and promotions. Never ends by an error.

    ``signature`` is what every event of this agent begins with.
    """

    def __init__(self, url: str, keys: Keys, agent: str, signature: dict[str, object]) -> None:
        super().__init__(name="link", daemon=True)
        self.outgoing = Outgoing()
        self._keys = keys
        self._agent = agent
        self._signature = signature
        self._watch = Watch(keys, agent)
        self._orders: deque[Order] = deque()
        self._client = connection.impatient(url)
        self._news: SimpleQueue[News] = SimpleQueue()
        self._events: deque[tuple[str, dict[str, Any]]] = deque(maxlen=MOST_EVENTS)
        self._awake = threading.Event()
        self._ending = False
        self._hints: dict[str, bytes] = {}
        self._due_slow = self._due_audit = 0.0
        self._picture = ""

    def event(self, kind: str, body: dict[str, Any]) -> None:
        """Queue an event, dated now. While Redis is away the oldest of more than 1,000 are lost."""
        self._events.append((kind, {"at": time.time()} | body))

    def reap(self, order: Order) -> None:
        """Have the jobs of a dead worker decided: at once, or as soon as Redis is back."""
        self._orders.append(order)
        self._awake.set()

    def take(self) -> News:
        """All news since the last call; never waits."""
        found = News()
        while True:
            try:
                news = self._news.get_nowait()
            except Empty:
                return found
            found.offers.extend(news.offers)
            found.tidy.extend(news.tidy)
            found.silent.extend(news.silent)

    def close(self, timeout: float) -> None:
        """Send the last heartbeat and events if Redis answers within ``timeout`` seconds."""
        self._ending = True
        self._awake.set()
        self.join(timeout)

    def run(self) -> None:
        wait = CYCLE_SECONDS
        while not self._ending:
            self._awake.wait(wait * random.uniform(0.5, 1) if wait > CYCLE_SECONDS else wait)  # noqa: S311
            self._awake.clear()
            wait = self._attempt(wait)
        self._due_slow = 0.0
        self._attempt(wait)

    def _attempt(self, wait: float) -> float:
        """One cycle; returns how long to wait for the next."""
        try:
            self._cycle(time.monotonic())
        except (RedisError, OSError) as error:
            self._watch.forget()
            if wait == CYCLE_SECONDS:
                log.warning("Redis is away, workers go on: %s", error)
            return min(wait * 2, LONGEST_BACKOFF)
        except Exception:  # this thread must live as long as the agent
            log.exception("Unexpected error while talking to Redis")
            return LONGEST_BACKOFF
        if wait != CYCLE_SECONDS:
            log.info("Redis is back")
        return CYCLE_SECONDS

    def _cycle(self, now: float) -> None:
        outgoing, sent = self.outgoing, list(self._events)
        slow = now >= self._due_slow
        with self._client.pipeline(transaction=False) as pipeline:
            pipeline.hgetall(self._keys.desired)
            for kind, body in sent:
                events.append(pipeline, self._keys.events, kind, body)
            if outgoing.heartbeat and (slow or outgoing.picture != self._picture):
                pipeline.hset(self._keys.agents, self._agent, outgoing.heartbeat)
            if slow:
                for queue in outgoing.queues:
                    promote(pipeline, self._keys.rq_prefix, queue)
            desired = pipeline.execute()[0]
        self._picture = outgoing.picture
        for _ in sent:
            self._events.popleft()
        if slow:
            self._due_slow = now + SLOW_CYCLE_SECONDS
        audit = now >= self._due_audit
        self._carry_out()
        offers = self._fetch(desired, outgoing.unsettled, audit)
        tidy = self._lease(outgoing.served) if audit else []
        if audit:
            self._due_audit = now + AUDIT_SECONDS
        silent = self._watch.look(self._client, now) if slow else []
        if offers or tidy or silent:
            self._news.put(News(offers, tidy, silent))

    def _carry_out(self) -> None:
        while self._orders:
            order = self._orders[0]
            try:
                decided = reap(self._client, self._keys, order, self._signature)
            except UNAVAILABLE:
                raise
            except ResponseError:  # it must not stand in the way of all that follows; upkeep tries again
                log.exception("The jobs of worker %s cannot be decided", order.lost.worker)
                decided = {}
            self._orders.popleft()
            for job_id, outcome in (decided or {}).items():
                log.warning("Job %s was lost with worker %s: %s", job_id, order.lost.worker, outcome)
            if decided and order.seen is not None:
                self._tell_of_silence(order, next(iter(decided)))

    def _tell_of_silence(self, order: Order, job_id: str) -> None:
        body: dict[str, Any] = {"worker": order.lost.worker, "pool_uid": order.pool_uid, "pid": 0}
        body |= {"exit": "its host fell silent", "job_id": job_id}
        self.event("worker.lost", self._signature | body)

    def _fetch(self, desired: dict[bytes, bytes], unsettled: frozenset[str], audit: bool) -> list[Offer]:
        """The envelopes of pools that changed, are not settled, or (in an audit) of all."""
        hints = {field.decode(errors="replace"): hint for field, hint in desired.items()}
        wanted = [
            uid
            for uid, hint in hints.items()
            if POOL_UID.fullmatch(uid) and (audit or uid in unsettled or self._hints.get(uid) != hint)
        ]
        if not wanted:
            return []
        keys = [key for uid in wanted for key in (self._keys.config(uid), self._keys.run(uid))]
        values = self._client.mget(keys)
        self._hints = hints
        return [_offer(uid, hints[uid], *values[2 * n : 2 * n + 2]) for n, uid in enumerate(wanted)]

    def _lease(self, pools: frozenset[str]) -> list[str]:
        """The pools whose upkeep is this agent's for the next minute. The lease expires by itself: that is its pace."""
        ordered = sorted(pools)
        with self._client.pipeline(transaction=False) as pipeline:
            for uid in ordered:
                pipeline.set(self._keys.upkeep(uid), self._agent, nx=True, ex=UPKEEP_SECONDS)
            granted = pipeline.execute()
        return [uid for uid, ours in zip(ordered, granted, strict=True) if ours]


def _offer(uid: str, hint: bytes, config: bytes | None, run: bytes | None) -> Offer:
    """The hint is unsigned and only ever shown: whatever it holds must not stop the agent."""
    try:
        body = json.loads(hint)
        name, told = str(body["pool"])[:200], body["config"]
    except (ValueError, TypeError, KeyError, RecursionError):
        name, told = uid, None
    return Offer(uid, name, told if isinstance(told, int) else None, config, run)
