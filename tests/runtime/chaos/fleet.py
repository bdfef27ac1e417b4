"""Who runs the jobs: pools under agents, or stock workers under a supervisor that starts them again."""

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from pools.runtime.options import URL_VARIABLE
from pools.runtime.processes import ProcessId
from tests.support.agents import AgentHost, new_uid
from tests.support.installation import descendants
from tests.support.proxy import Proxy
from tests.support.simulator import Simulator
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

APPLICATION = Path(__file__).with_name("application")
POOLS = (("mail", "bills", "photos"), ("search", "index", "reports"))
QUEUES = tuple(queue for pool in POOLS for queue in pool)


class Fleet(Protocol):
    """What faults and rounds need of either kind."""

    def start(self) -> None: ...
    def tend(self) -> None:
        """What a host's own supervisor does: start again what ended."""

    def workers(self) -> list[ProcessId]: ...
    def close(self) -> None: ...


class Managed:
    """Two hosts, each with ``workers`` workers of each of two pools; all of it speaks to the broker by the proxy."""

    def __init__(self, folder: Path, valkey: ValkeyServer, proxy: Proxy, workers: int) -> None:
        self.count = workers
        self.pools = {new_uid(): queues for queues in POOLS}
        simulator, told = Simulator(), {URL_VARIABLE: proxy.url}
        names = ("host-1", "host-2")
        self.hosts = [AgentHost(folder / n, valkey, name=n, environment=told, simulator=simulator) for n in names]

    def start(self) -> None:
        for uid in self.pools:
            self.scale(uid, self.count)
        for host in self.hosts:
            host.start()
        wanted = self.count * len(self.pools) * len(self.hosts)
        wait_for(lambda: len(self.workers()) == wanted, timeout=120, message="all workers are there")

    def tend(self) -> None:
        """An agent that ended is started by the fault that ended it."""

    def scale(self, uid: str, workers: int) -> None:
        queues = list(self.pools[uid])
        application = {"directory": str(APPLICATION)}
        spec = {"queues": queues, "workers": workers, "application": application, "stop_grace": 20}
        self.hosts[0].configure(uid, spec)

    def command(self, uid: str, state: str) -> None:
        self.hosts[0].command(uid, state)

    def workers(self) -> list[ProcessId]:
        statuses = [status for host in self.hosts for c in host.channels() if (status := c.status())]
        return [status.process for status in statuses if status.state != "starting" and status.process.alive]

    def close(self) -> None:
        for host in self.hosts:
            host.close()


class Stock:
    """As many ``rq worker`` processes, each started again when it ends."""

    def __init__(self, folder: Path, valkey: ValkeyServer, proxy: Proxy, workers: int) -> None:
        self._url = proxy.url
        self._log = (folder / "workers.log").open("ab")
        self._wanted = [queues for queues in POOLS for _ in range(2 * workers)]
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
        command = [str(Path(sys.executable).with_name("rq")), "worker", "--url", self._url, *queues]
        return subprocess.Popen(command, cwd=APPLICATION, stdout=self._log, stderr=self._log)


def horses(fleet: Fleet) -> list[ProcessId]:
    """Those whose worker lives."""
    pids = [pid for worker in fleet.workers() for pid in descendants(worker.pid)]
    return [found for pid in pids if (found := ProcessId.of(pid))]
