"""Runs the loops while this process leads: each in a thread with a database connection, so that none waits."""

import threading
import time
from collections.abc import Sequence

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from pools.broker.connection import BrokerUnavailable
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.loop import Loop

STANDBY = 0.2
LONGEST_BACKOFF = 5.0
OUTAGES = (BrokerUnavailable, DatabaseError, InterfaceError)
"""What a tick may expect of the world: tried again, said once in plain words."""

log = structlog.get_logger(__name__)


class Turns:
    """One loop's ticks: when the next is due, and what the last ones came to."""

    def __init__(self, loop: Loop, lease: LeaderLease) -> None:
        self.loop = loop
        self.lease = lease
        self.failures = 0

    def take(self) -> float:
        """Tick if this process leads; return the seconds until the next turn. Never raises."""
        if not self.lease.held():
            return STANDBY
        close_old_connections()
        try:
            more = self.loop.tick()
        except LeaseLost as lost:
            log.warning("loop.stopped", loop=self.loop.name, why=str(lost))
            return STANDBY
        except OUTAGES as error:
            return self._failed(f"{type(error).__name__}: {error}".strip())
        except Exception as error:
            # A fault of ours: said loudly, and the other duties and the next tick go on.
            log.exception("loop.fault", loop=self.loop.name)
            return self._failed(f"{type(error).__name__}: {error}", said=True)
        if self.failures:
            log.info("loop.recovered", loop=self.loop.name, failures=self.failures)
            self.failures = 0
        return 0.0 if more else self.loop.interval

    def _failed(self, why: str, *, said: bool = False) -> float:
        self.failures += 1
        # The first time, then ever more rarely: an hour's outage is not a line a second.
        if not said and self.failures & (self.failures - 1) == 0:
            log.warning("loop.failed", loop=self.loop.name, error=why, failures=self.failures)
        return float(min(self.loop.interval * 2 ** min(self.failures, 10), max(LONGEST_BACKOFF, self.loop.interval)))


def run_once(loops: Sequence[Loop], lease: LeaderLease) -> bool:
    """Tick each loop, in order, until it has nothing more to do. False when one of them failed."""
    failed = False
    for loop in loops:
        lease.renew()
        turns = Turns(loop, lease)
        while turns.take() == 0.0:
            pass
        failed = failed or bool(turns.failures)
    return not failed


class Runner:
    """All loops and the lease's keeper. ``stop`` lets running ticks finish."""

    def __init__(self, loops: Sequence[Loop], lease: LeaderLease) -> None:
        self._lease = lease
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=lease.keep, args=[self._stop], name="lease", daemon=True)]
        self._threads += [
            threading.Thread(target=self._run, args=[Turns(loop, lease)], name=loop.name, daemon=True) for loop in loops
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> list[str]:
        """Ask all to end and wait at most ``timeout`` seconds. Returns the names of those that did not."""
        self._stop.set()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _run(self, turns: Turns) -> None:
        while not self._stop.wait(turns.take()):
            pass
        connection.close()
