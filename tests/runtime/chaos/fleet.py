"""Who runs the jobs: pools under agents, or stock workers under a supervisor that starts them again."""

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from pools.runtime.options import URL_VARIABLE
from pools.runtime.processes import ProcessId
from tests.runtime.chaos.console import Console
from tests.runtime.chaos.pools import AGENT_OPTIONS, APPLICATION, QUEUES, spec
from tests.support.agents import AgentHost
from tests.support.installation import descendants
from tests.support.proxy import Proxy
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


class Fleet(Protocol):
    """What faults and rounds need of either kind."""

    def start(self) -> None: ...
    def tend(self) -> None:
        """What a host's own supervisor does: start again what ended."""

    def workers(self) -> list[ProcessId]: ...
    def close(self) -> None: ...


class Managed:
    """Two hosts, each with ``workers`` workers of each of two pools, and a console. The broker is behind the proxy.

    ``ledger``: the file that jobs write to; ``profile``: the isolation of one of the pools.
    """

    def __init__(
        self, folder: Path, valkey: ValkeyServer, proxy: Proxy, workers: int, ledger: Path, profile: str
    ) -> None:
        self.count, self._profile = workers, profile
        self.pools: dict[str, str] = {}
        self.console = Console(folder, proxy.url)
        self._ledger = ledger
        told = {URL_VARIABLE: proxy.url, "POOLWARDEN_ENV": "test"}
        self.hosts = [
            AgentHost(folder / name, valkey, name, list(AGENT_OPTIONS), told, self.console.trust_root)
            for name in ("host-1", "host-2")
        ]

    def start(self) -> None:
        self.console.start()
        for slug in QUEUES:
            self.pools[slug] = self.console.order(
                "create", slug, spec=spec(slug, self.count, self._ledger, self._profile)
            )
        for host in self.hosts:
            host.start()
        wanted = self.count * len(self.pools) * len(self.hosts)
        wait_for(lambda: len(self.workers()) == wanted, timeout=120, message=f"workers\n{self.hosts[0].log()}")

    def tend(self) -> None:
        """An agent that ended is started by the fault that ended it."""
        self.console.tend()

    def scale(self, slug: str, workers: int) -> None:
        self.console.order("scale", slug, workers=workers)

    def workers(self) -> list[ProcessId]:
        statuses = [status for host in self.hosts for c in host.channels() if (status := c.status())]
        return [status.process for status in statuses if status.state != "starting" and status.process.alive]

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.console.close()


class Stock:
    """As many ``rq worker`` processes with schedulers, each started again when it ends."""

    def __init__(self, folder: Path, valkey: ValkeyServer, proxy: Proxy, workers: int, ledger: Path) -> None:
        self._url = proxy.url
        self._log = (folder / "workers.log").open("ab")
        self._wanted = [queues for queues in QUEUES.values() for _ in range(2 * workers)]
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        self._running = [self._spawn(queues) for queues in self._wanted]

    def tend(self) -> None:
        for place, process in enumerate(self._running):
            if process.poll() is not None:
                self._running[place] = self._spawn(self._wanted[place])

    def workers(self) -> list[ProcessId]:
        return [found for process in self._running if (found := ProcessId.of(process.pid))]

    def restart(self) -> None:
        """All of them, as an operator does who has nothing else left; RQ's maintenance runs when a worker starts."""
        for process in self._running:
            process.terminate()
        wait_for(lambda: not self.workers(), timeout=600, message="warm shutdown")
        self.start()

    def close(self) -> None:
        """Workers first: a horse that outlives its worker goes on, as it does in production."""
        of_workers = horses(self)
        for process in self._running:
            process.kill()
            process.wait(timeout=20)
        for horse in of_workers:
            horse.kill_group()

    def _spawn(self, queues: tuple[str, ...]) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).with_name("rq")), "worker", "--with-scheduler", "--url", self._url, *queues]
        return subprocess.Popen(command, cwd=APPLICATION, stdout=self._log, stderr=self._log)


def horses(fleet: Fleet) -> list[ProcessId]:
    """Those whose worker lives."""
    pids = [pid for worker in fleet.workers() for pid in descendants(worker.pid)]
    return [found for pid in pids if (found := ProcessId.of(pid))]
