"""One round: work comes in, faults strike until it is done or time is up, then calm, then the judge."""

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.runtime.chaos.faults import Scene
from tests.runtime.chaos.fleet import Fleet, Managed, Stock
from tests.runtime.chaos.judge import Verdict, judge, on_their_way, queued
from tests.runtime.chaos.ledger import Ledger
from tests.runtime.chaos.pools import ALL_QUEUES, PROFILES
from tests.runtime.chaos.storm import Storm
from tests.runtime.chaos.traces import await_quarantine, trace
from tests.support.proxy import Proxy
from tests.support.valkey import ValkeyServer, free_port

# So many jobs come at once, when fewer than these wait: queues run empty, and fill again.
WAVE, FEW = 60, 30
# Stock workers need RQ's maintenance: once their leases of 90 s and a minute's grace are over.
LEASES_ARE_OVER = 160.0


@dataclass(frozen=True)
class Plan:
    """``workers`` of each pool on each of two hosts. In seconds: the ``longest`` pause of anything, a fault ``every``
    so often, ``storm`` and ``calm`` at most.
    """

    seed: int
    jobs: int
    workers: int = 3
    longest: float = 3.0
    every: float = 0.5
    storm: float = 3600.0
    calm: float = 300.0
    stock: bool = False
    profile: str = PROFILES[0]


def run(plan: Plan, folder: Path) -> tuple[Verdict, Storm]:
    """Everything is started and ended in here; logs and data stay in ``folder``."""
    chance = random.Random(plan.seed)
    with _ledger(folder, chance) as ledger, _stage(plan, folder, chance, ledger) as scene:
        storm = Storm(scene, plan.every)
        client = scene.valkey.client
        over = time.monotonic() + plan.storm
        while time.monotonic() < over and not (len(ledger.queues) == plan.jobs and _done(storm, client)):
            storm.blow()
            scene.fleet.tend()
            if len(ledger.queues) < plan.jobs and _done(storm, client):
                ledger.enqueue(client, chance.choice(ALL_QUEUES), min(WAVE, plan.jobs - len(ledger.queues)))
            time.sleep(0.02)
        storm.end()
        _settle(plan, scene)
        if isinstance(scene.fleet, Managed):
            await_quarantine(client, scene.fleet, ledger)
        verdict = judge(client, ledger)
        verdict.facts.update({f"answers lost to {command}": count for command, count in scene.proxy.lost.items()})
        if isinstance(scene.fleet, Managed):
            trace(verdict, client, scene.fleet, ledger)
        return verdict, storm


def _done(storm: Storm, client: Any) -> bool:
    return storm.broker_answers and queued(client) < FEW


def _settle(plan: Plan, scene: Scene) -> None:
    """Wait until nothing is on its way. What is not settled then, the judge finds."""
    deadline, client = time.monotonic() + plan.calm, scene.valkey.client
    if isinstance(scene.fleet, Stock):
        deadline += LEASES_ARE_OVER
        _wait(scene, deadline - plan.calm)
        if on_their_way(client):
            scene.fleet.restart()
    _wait(scene, deadline)


def _wait(scene: Scene, deadline: float) -> None:
    while on_their_way(scene.valkey.client) and time.monotonic() < deadline:
        scene.fleet.tend()
        time.sleep(0.1)


@contextmanager
def _ledger(folder: Path, chance: random.Random) -> Iterator[Ledger]:
    """In a folder that jobs of any user reach; afterwards it lies with the rest."""
    shared = Path(tempfile.mkdtemp(prefix="poolwarden-chaos-ledger-"))
    shared.chmod(0o777)
    try:
        yield Ledger(shared / "ledger", chance)
    finally:
        shutil.move(shared, folder)


@contextmanager
def _stage(plan: Plan, folder: Path, chance: random.Random, ledger: Ledger) -> Iterator[Scene]:
    valkey = ValkeyServer(folder / "valkey", free_port())
    valkey.start()
    proxy = Proxy(valkey.port, seed=plan.seed)
    told = (folder, valkey, proxy, plan.workers, ledger.path)
    fleet: Fleet = Stock(*told) if plan.stock else Managed(*told, plan.profile)
    try:
        fleet.start()
        yield Scene(fleet, valkey, proxy, chance, plan.longest)
    finally:
        fleet.close()
        proxy.close()
        valkey.kill()
