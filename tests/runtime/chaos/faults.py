"""What goes wrong, each a small function. It returns how to undo itself and after how many seconds, or None."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from pools.runtime.processes import ProcessId
from tests.runtime.chaos.fleet import Fleet, Managed, horses
from tests.support.agents import AgentHost
from tests.support.proxy import Proxy
from tests.support.valkey import ValkeyServer

type Undo = tuple[float, Callable[[], None]] | None


@dataclass(frozen=True)
class Scene:
    """``longest``: the longest pause of a process or a link, in seconds."""

    fleet: Fleet
    valkey: ValkeyServer
    proxy: Proxy
    chance: Random
    longest: float = 3.0

    @property
    def managed(self) -> Managed:
        assert isinstance(self.fleet, Managed)
        return self.fleet

    def pause(self) -> float:
        """Mostly shorter than any patience; one in ten as long as may be."""
        return self.longest if self.chance.randrange(10) == 0 else self.chance.uniform(0.1, min(2.0, self.longest))

    def one(self, processes: Sequence[ProcessId]) -> Sequence[ProcessId]:
        """One of them by chance, or none when there is none."""
        return [self.chance.choice(processes)] if processes else []


@dataclass(frozen=True)
class Fault:
    """``target``: what only one fault may be at work on at a time; empty: any number may."""

    strike: Callable[[Scene], Undo]
    target: str = ""
    managed_only: bool = False

    @property
    def name(self) -> str:
        return self.strike.__name__.replace("_", " ")


def term_worker(scene: Scene) -> Undo:
    for worker in scene.one(scene.fleet.workers()):
        worker.signal(signal.SIGTERM)
    return None


def term_worker_twice(scene: Scene) -> Undo:
    """More than a second apart: rq forgives a second signal that comes sooner."""
    for worker in scene.one(scene.fleet.workers()):
        worker.signal(signal.SIGTERM)
        return 1.2, partial(worker.signal, signal.SIGTERM)
    return None


def kill_worker(scene: Scene) -> Undo:
    for worker in scene.one(scene.fleet.workers()):
        worker.signal(signal.SIGKILL)
    return None


def kill_horse(scene: Scene) -> Undo:
    for horse in scene.one(horses(scene.fleet)):
        horse.signal(signal.SIGKILL)
    return None


def stop_worker(scene: Scene) -> Undo:
    for worker in scene.one(scene.fleet.workers()):
        worker.signal(signal.SIGSTOP)
        return scene.pause(), partial(worker.signal, signal.SIGCONT)
    return None


def stop_horse(scene: Scene) -> Undo:
    for horse in scene.one(horses(scene.fleet)):
        horse.signal(signal.SIGSTOP)
        return scene.pause(), partial(horse.signal, signal.SIGCONT)
    return None


def kill_agent(scene: Scene) -> Undo:
    host = scene.chance.choice(scene.managed.hosts)
    host.kill()
    return scene.pause(), host.start


def kill_host(scene: Scene) -> Undo:
    """Agent and workers at once; the host comes up again."""
    host = scene.chance.choice(scene.managed.hosts)
    _kill(host)
    return scene.pause(), host.start


def kill_all_hosts(scene: Scene) -> Undo:
    """Nobody is left but the controller."""
    hosts = scene.managed.hosts
    for host in hosts:
        _kill(host)
    return scene.pause(), partial(_start, hosts)


def _start(hosts: Sequence[AgentHost]) -> None:
    for host in hosts:
        host.start()


def _kill(host: AgentHost) -> None:
    host.kill()
    for status in [channel.status() for channel in host.channels()]:
        if status is not None:
            status.process.signal(signal.SIGKILL)


def kill_controller(scene: Scene) -> Undo:
    """Whatever it was writing; agents and workers go on without it."""
    scene.managed.console.kill_controller()
    return scene.pause(), scene.managed.console.start_controller


def pause_pool(scene: Scene) -> Undo:
    slug = scene.chance.choice(list(scene.managed.pools))
    scene.managed.console.order("pause", slug)
    return scene.pause(), partial(scene.managed.console.order, "resume", slug)


def scale_pool(scene: Scene) -> Undo:
    slug, most = scene.chance.choice(list(scene.managed.pools)), scene.managed.count
    scene.managed.scale(slug, scene.chance.choice([0, most - 1, most + 1]))
    return scene.pause(), partial(scene.managed.scale, slug, most)


def kill_broker(scene: Scene) -> Undo:
    scene.valkey.kill()
    return scene.pause(), scene.valkey.start


def stop_broker(scene: Scene) -> Undo:
    process = scene.valkey.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    return scene.pause(), partial(process.send_signal, signal.SIGCONT)


def lose_answers(scene: Scene) -> Undo:
    scene.proxy.lose = 0.1
    return scene.pause(), partial(setattr, scene.proxy, "lose", 0.0)


def cut_connections(scene: Scene) -> Undo:
    scene.proxy.cut()
    return None


def half_open_connections(scene: Scene) -> Undo:
    scene.proxy.half_open()
    return None


FAULTS = (
    *(Fault(strike) for strike in (term_worker, term_worker_twice, kill_worker, kill_horse, stop_worker, stop_horse)),
    *(Fault(strike, "agents", managed_only=True) for strike in (kill_agent, kill_host, kill_all_hosts)),
    *(Fault(strike, "pools", managed_only=True) for strike in (pause_pool, scale_pool)),
    Fault(kill_controller, "controller", managed_only=True),
    *(Fault(strike, "broker") for strike in (kill_broker, stop_broker)),
    Fault(lose_answers, "answers"),
    Fault(cut_connections),
    Fault(half_open_connections),
)
