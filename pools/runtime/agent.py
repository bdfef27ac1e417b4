"""An agent: keeps the RQ workers of one host as the signed configs say. No Django, no SQL, no signing key.

One loop: note signals, reap, take news from the broker, decide, act, say what is so. It runs on its last verified
configs while the console, the database or Redis is away, and finds its workers again when it was away itself.
"""

import fcntl
import logging
import os
import signal
import sys
import time
from pathlib import Path

from pools.runtime import heartbeat, ringer
from pools.runtime.inbox import SignalInbox
from pools.runtime.intake import Intake
from pools.runtime.keeper import PoolKeeper
from pools.runtime.keys import Keys
from pools.runtime.link import Link, Outgoing
from pools.runtime.options import Options, parse
from pools.runtime.ringer import Listening, Ringer
from pools.runtime.store import Store
from pools.runtime.supervisor import Supervisor
from pools.signing import VerifiedConfig
from pools.spec import PoolSpec

log = logging.getLogger("poolwarden.agent")

TICK_SECONDS = 0.1
SLOW_TICK_SECONDS = 10.0
GOODBYE_SECONDS = 2.0


class Agent:
    """Wires the parts together; each of them can be read, and tested, alone."""

    def __init__(self, options: Options) -> None:
        self._options = options
        keys = Keys(os.environ.get("RQ_KEY_PREFIX", "rq"))
        self._link = Link(options.redis_url, keys, options.name, options.signature)
        self._ringer = Ringer(options.redis_url, keys)
        self._intake = Intake(options.root, options.env, Store(options.state / "pools"))
        self._supervisor = Supervisor(options)
        self._heartbeat = heartbeat.Heartbeat(options)
        self._keepers: dict[str, PoolKeeper] = {}
        self._due_slow = 0.0

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then stop the workers in good order, within their grace."""
        inbox = SignalInbox([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])
        self._supervisor.adopt()
        self._refused(self._intake.restore(int(time.time())))
        self._link.start()
        self._ringer.start()
        while not {signal.SIGTERM, signal.SIGINT} & set(inbox.wait(TICK_SECONDS)):
            self._tick()
        log.info("Stopping: workers finish their jobs, within their grace")
        for handle in self._supervisor.handles.values():
            handle.stop(time.monotonic(), self._options.stop_timeout)
        while self._supervisor.handles:
            self._watch(time.monotonic())
            self._speak()
            inbox.wait(TICK_SECONDS)
        for keeper in self._keepers.values():
            keeper.chores.end()
        self._ringer.close()
        self._speak()
        self._link.close(GOODBYE_SECONDS)

    def _tick(self) -> None:
        now = time.monotonic()
        self._watch(now)
        news = self._link.take()
        for uid in news.tidy:
            self._keeper(uid).chores.tidy()
        for silent in news.silent:
            self._link.reap(silent.last_will(self._intake.failure_ttl(silent.pool_uid)))
        try:
            for offer in news.offers:
                self._refused(self._intake.take(offer, int(time.time())))
            for pool in self._intake.pools.values():
                self._keeper(pool.uid).converge(pool, now)
        except OSError as error:  # a full disk: what runs goes on, and what is new is offered again
            log.error("The state folder cannot be written: %s", error)
        if now >= self._due_slow:
            self._supervisor.bound_output()
            self._due_slow = now + SLOW_TICK_SECONDS
        self._speak()

    def _watch(self, now: float) -> None:
        """See what became of the workers since the last look."""
        for handle in self._supervisor.notice_ready():
            self._keeper(handle.pool_uid).ready(handle)
        for ended in self._supervisor.reap():
            uid = ended.handle.pool_uid
            self._keeper(uid).ended(ended, self._intake.failure_ttl(uid), now)
        self._supervisor.kill_overdue(now)

    def _speak(self) -> None:
        """Tell the threads that speak to Redis what they are to say and to listen to."""
        pools = [pool for pool in self._intake.pools.values() if self._keeper(pool.uid).concerns(pool)]
        served = [pool for pool in pools if pool.config is not None]
        described = [self._keeper(pool.uid).describe(pool) for pool in pools]
        workers = [worker for pool in pools for worker in self._keeper(pool.uid).describe_workers(pool)]
        self._ringer.listening = [self._listening(pool.config) for pool in served if pool.config]
        self._link.outgoing = Outgoing(
            heartbeat=self._heartbeat.text(described, workers),
            picture=repr((described, workers)),
            unsettled=frozenset(pool.uid for pool in self._intake.pools.values() if not pool.settled),
            served=frozenset(pool.uid for pool in served),
            queues=sorted({queue for pool in served if pool.config for queue in pool.config.spec.queues}),
            cron=[pool.config for pool in served if pool.config and pool.config.spec.cron and pool.state == "running"],
        )

    def _listening(self, config: VerifiedConfig[PoolSpec]) -> Listening:
        uid = config.payload.pool_uid
        return Listening(ringer.path(self._options.state, uid), config.spec.queues, len(self._supervisor.of_pool(uid)))

    def _refused(self, news: list[dict[str, object]]) -> None:
        for body in news:
            log.warning("Refused config of pool %s: %s", body["pool"], body["detail"])
            self._link.event("config.refused", self._options.signature | body)

    def _keeper(self, uid: str) -> PoolKeeper:
        if uid not in self._keepers:
            self._keepers[uid] = PoolKeeper(uid, self._options, self._supervisor, self._link)
        return self._keepers[uid]


def _lock(state: Path) -> int:
    """One agent for each state folder. Returns the descriptor that holds the lock. Raises BlockingIOError."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(state / "agent.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def main() -> int:
    """Exit codes: 0 stopped when asked, 1 cannot run here, 2 wrong command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    options = parse(sys.argv[1:], os.environ)
    try:
        _lock(options.state)
        agent = Agent(options)
    except BlockingIOError:
        log.error("Another agent runs with the state folder %s", options.state)
        return 1
    except OSError as error:
        log.error("The state folder cannot be used: %s", error)
        return 1
    agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
