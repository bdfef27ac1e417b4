"""A worker process from its config to its last job; see launch.py for how it comes to run."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from rq.defaults import RQ_KEY_PREFIX

from pools.runtime import clock, connection, secrets, upkeep
from pools.runtime.application import preload
from pools.runtime.bell import Bell
from pools.runtime.channel import Channel, Status
from pools.runtime.identity import Identity
from pools.runtime.job import Policy, PoolJob
from pools.runtime.keys import Keys
from pools.runtime.processes import ProcessId, die_with_parent
from pools.runtime.refusals import serializer_for
from pools.runtime.sandbox import probe, user
from pools.runtime.sandbox.enclosure import Enclosure
from pools.runtime.sandbox.probe import NotGiven
from pools.runtime.sandboxed import Sandbox, SandboxError
from pools.runtime.worker import LEASE_RENEWAL_SECONDS, PoolWorker
from pools.runtime.worker_config import WorkerConfig

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

log = logging.getLogger("rq.worker")


class _Stop:
    """Set by any signal that asks a process to end, however often. The agent decides when patience ends: SIGKILL."""

    requested = False

    def install(self) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.requested = True


def main() -> int:
    """Exit codes: 0 ended in good order; anything else, or a signal, did not."""
    config = WorkerConfig.loads(sys.stdin.read())
    _detach_input()
    time.strptime("1", "%d")  # Python loads what that needs now, and not as a user who may not read its library
    stop = _Stop()
    if config.purpose == "work":
        return _work(config, stop)
    if not die_with_parent(config.agent_pid):
        return 1  # the next agent begins again
    preload(config.preload)
    return keep_up(config)


def _work(config: WorkerConfig, stop: _Stop) -> int:
    channel = Channel(Path(config.channel))
    process = ProcessId.of(os.getpid())
    assert process is not None
    channel.report(Status("starting", process))
    try:
        enclosure = _enclosure(config, channel)
    except NotGiven as error:
        print(f"Isolation: {error}", file=sys.stderr)  # noqa: T201  # the agent passes it on
        return os.EX_CONFIG
    try:
        sandbox = _sandbox(config, enclosure)
    except SandboxError as error:
        print(f"Isolation: {error}", file=sys.stderr)  # noqa: T201
        return os.EX_CONFIG
    if sandbox is None:
        preload(config.preload)
    stop.install()
    idle = connection.impatient(config.redis_url)
    if fault := clock.ask(idle):
        print(fault, file=sys.stderr)  # noqa: T201
        return 1
    channel.report(Status("ready", process))
    if not _wait_for(idle, lambda: stop.requested or channel.control() is None):
        return _ended(channel, process, heard=True)
    identity = Identity.of(config)
    secrets.install(config.secrets, identity, Keys(RQ_KEY_PREFIX))
    client = connection.patient(config.redis_url)
    worker = _worker(
        config,
        identity,
        client,
        enclosure=enclosure,
        sandbox=sandbox,
        idle_connection=idle,
        stop_requested=lambda: stop.requested,
        rung=_bell(Path(config.bell)),
        horse_jobs=config.horse_jobs,
    )
    gc.freeze()  # what is loaded by now is shared with every horse, as long as no collection writes to it
    worker.work(logging_level="INFO")
    if not worker.ended_as_asked:
        return 1  # rq's loop ends on errors it does not know, and has logged them
    return _ended(channel, process, heard=worker.said_goodbye)


def _enclosure(config: WorkerConfig, channel: Channel) -> Enclosure | None:
    """What the signed spec asks for, tried on this very host. Raises NotGiven, OSError."""
    if not config.isolation.encloses:
        return None
    found = probe.required(config.isolation, config.job_user)
    channel.attest({name: (one.holds, one.how) for name, one in found.items()})
    uid, gid = user.chosen(config.job_user)
    return Enclosure(
        config.isolation, config.worker, uid, gid, namespace=found[probe.NAMESPACE].holds, jobs=config.horse_jobs
    )


def _sandbox(config: WorkerConfig, enclosure: Enclosure | None) -> Sandbox | None:
    """With the application loaded in it. Raises SandboxError, OSError."""
    if enclosure is None or not config.isolation.sandboxed:
        return None
    sandbox = Sandbox(config, *user.chosen(config.job_user))
    enclosure.base = sandbox.base
    return sandbox


def _bell(path: Path) -> Callable[[float], bool]:
    """What the worker waits for; where the bell cannot be hung, for the time alone."""
    try:
        return Bell(path).wait
    except OSError as error:
        log.warning("The agent cannot wake this worker: %s", error)
        return threading.Event().wait


def _ended(channel: Channel, process: ProcessId, *, heard: bool) -> int:
    """In good order; ``heard``: Redis knows, nothing is left to repair."""
    for number in STOP_SIGNALS:  # one more, while the interpreter ends, must not look like a loss
        signal.signal(number, signal.SIG_IGN)
    if channel.directory.exists():
        channel.report(Status("stopped" if heard else "unheard", process))
    return 0


def _worker(config: WorkerConfig, identity: Identity, client: Any, **options: Any) -> PoolWorker:
    policy = Policy.of(config)
    return PoolWorker(
        config.queues,
        job_class=PoolJob.bind(keys=Keys(RQ_KEY_PREFIX), identity=identity, policy=policy, rules=config.rules),
        connection=client,
        channel=Channel(Path(config.channel)),
        default_result_ttl=config.result_ttl,
        job_monitoring_interval=LEASE_RENEWAL_SECONDS,
        serializer=serializer_for(config.admission, config.serializer),
        **options,
    )


def keep_up(config: WorkerConfig) -> int:
    """One round of repair. The connection is impatient: the agent comes back to it when Redis was away."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    client = connection.impatient(config.redis_url, timeout=10)
    client.ping()  # all that a connection needs is loaded by now, wherever the interpreter lies
    if config.isolation.encloses:  # what it reads from here on, producers wrote: to be trusted no more than a job
        user.become(*user.chosen(config.job_user))
        if not die_with_parent(config.agent_pid):  # a change of user made the kernel forget the first
            return 1

    def named(name: str) -> PoolWorker:
        identity = replace(Identity.of(config), worker=name)
        never: dict[str, Any] = {"stop_requested": lambda: False, "rung": lambda seconds: False}
        return _worker(config, identity, client, idle_connection=client, prepare_for_work=False, **never)

    for lost in config.lost:
        upkeep.recover(named(lost.worker), lost)
    upkeep.settle(named(config.worker))
    if config.tidy:
        upkeep.tidy(named(config.worker))
    return 0


def _wait_for(client: Any, give_up: Callable[[], bool]) -> bool:
    """Wait until Redis answers. The agent starts workers without asking it (fail static)."""
    log.setLevel(logging.INFO)
    while not give_up():
        try:
            return bool(client.ping())
        except connection.UNAVAILABLE as error:
            print(f"{socket.gethostname()}: waiting for Redis: {error}", file=sys.stderr)  # noqa: T201
            time.sleep(0.5)
    return False


def _detach_input() -> None:
    """Jobs that read standard input find it empty, and the config's pipe is gone."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
