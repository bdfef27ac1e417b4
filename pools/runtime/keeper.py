"""One pool on one host: holds what is wanted of it against what runs, and acts on the difference."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pools.runtime import heartbeat, recipe
from pools.runtime.channel import Control
from pools.runtime.chores import Chores
from pools.runtime.handle import Handle
from pools.runtime.intake import Pool
from pools.runtime.link import Link
from pools.runtime.options import Options
from pools.runtime.reaper import Order
from pools.runtime.reconciler import ACTIVE, Drain, Start, Wanted, WorkerState, plan
from pools.runtime.respawn import BootFailure, Respawn
from pools.runtime.supervisor import CANNOT_RUN, Exit, StartError, Supervisor, forget, tail
from pools.runtime.worker_config import Lost
from pools.signing import VerifiedConfig
from pools.spec import PoolSpec

log = logging.getLogger("poolwarden.agent")


class PoolKeeper:
    """Everything about one pool that is not its trusted config: failures, repairs, and what was last decided."""

    def __init__(self, uid: str, options: Options, supervisor: Supervisor, link: Link) -> None:
        self.uid = uid
        self.chores = Chores(options, options.state / "upkeep" / f"{uid}.log")
        self._options = options
        self._supervisor = supervisor
        self._link = link
        self._respawn = Respawn()
        self._build: tuple[VerifiedConfig[PoolSpec], str] | None = None

    def converge(self, pool: Pool, now: float) -> None:
        """One step towards what is wanted. A pool without a trusted config is left as it is."""
        config = pool.config
        if config is None:
            return
        build, control = self._build_of(config), Control(pool.state == "paused", config.version, pool.wishes)
        handles = self._supervisor.of_pool(self.uid)
        self._instruct(handles, build, config, control)
        wanted = Wanted(build, self._count(pool, config), self._respawn.may_start(build, now))
        by_name = {handle.name: handle for handle in handles}
        surplus = len(handles) > wanted.count  # only then does it matter who is at work
        for action in plan(wanted, [handle.seen(busy=surplus and handle.has_job()) for handle in handles]):
            match action:
                case Drain(name):
                    by_name[name].drain(now)
                case Start(count):
                    self._start(config, count, control, now)
        self.chores.tick(config, now)

    def ready(self, handle: Handle) -> None:
        if handle.build == self._respawn.build:
            self._respawn.ready()

    def ended(self, exit_: Exit, failure_ttl: int, now: float) -> None:
        """A worker is gone: count it, report it, and see to what it held. ``failure_ttl``: of its dead letters."""
        handle, ended = exit_.handle, exit_.ended
        was_wanted = handle.state in ACTIVE
        if handle.left_in_good_order(ended):
            if was_wanted and not handle.loaded:
                self._boot_failed(handle.name, handle.config, ended.code or 1, tail(handle.channel.output), now)
            elif was_wanted:
                self._respawn.crashed(handle.name, time.time() - handle.started_at, now)
            forget(handle)
            return
        status = handle.channel.status()
        if status is not None and status.state == "unheard":
            self._settle(handle, f"Worker {handle.name} stopped.", failure_ttl)
            return
        log.warning("Worker %s was lost (%s): %s", handle.name, ended.exit, tail(handle.channel.output))
        self._lost(handle, ended.exit, failure_ttl)
        if was_wanted:
            self._respawn.crashed(handle.name, time.time() - handle.started_at, now)

    def concerns(self, pool: Pool) -> bool:
        """Whether this host has anything to do with the pool."""
        placed = pool.config is not None and self._placed(pool.config.spec)
        return placed or pool.refused is not None or bool(self._supervisor.of_pool(self.uid)) or not self.chores.idle

    def describe(self, pool: Pool) -> dict[str, Any]:
        return heartbeat.describe_pool(pool, self._supervisor.of_pool(self.uid), self._respawn)

    def describe_workers(self, pool: Pool) -> Iterator[dict[str, Any]]:
        handles = self._supervisor.of_pool(self.uid)
        yield from map(heartbeat.describe_worker, handles)
        missing = pool.config is not None and len(handles) < self._count(pool, pool.config)
        if missing and self._respawn.waiting:
            yield heartbeat.describe_backoff(pool, self._respawn)

    def _build_of(self, config: VerifiedConfig[PoolSpec]) -> str:
        """``recipe.build``, computed once for a config and not ten times a second."""
        if self._build is None or self._build[0] is not config:
            self._build = (config, recipe.build(config))
        return self._build[1]

    def _count(self, pool: Pool, config: VerifiedConfig[PoolSpec]) -> int:
        wanted = pool.state != "draining" and self._placed(config.spec)
        return config.spec.workers if wanted else 0

    def _placed(self, spec: PoolSpec) -> bool:
        return spec.placement.items() <= self._options.labels.items()

    def _instruct(self, handles: list[Handle], build: str, config: VerifiedConfig[PoolSpec], control: Control) -> None:
        """Tell every worker; those of this build stand for this version from now on."""
        for handle in handles:
            version = config.version if handle.build == build else handle.config
            handle.grace = config.spec.stop_grace
            handle.order(replace(control, config=version))

    def _start(self, config: VerifiedConfig[PoolSpec], count: int, control: Control, now: float) -> None:
        for _ in range(count):
            try:
                self._supervisor.start(config, control, restarts=self._respawn.restarts)
            except StartError as error:
                self._boot_failed(config.payload.pool, config.version, CANNOT_RUN, str(error), now)
                return

    def _boot_failed(self, worker: str, config: int, exit_code: int, message: str, now: float) -> None:
        log.warning("Worker %s could not start (%s): %s", worker, exit_code, message)
        failure = BootFailure(time.time(), exit_code, message)
        if self._respawn.boot_failed(worker, failure, now):
            body = {"worker": worker, "pool_uid": self.uid, "config": config}
            body |= {"exit_code": exit_code, "message": message}
            self._link.event("worker.boot_failed", self._options.signature | body)

    def _lost(self, handle: Handle, how: str, failure_ttl: int) -> None:
        status = handle.channel.status()
        late = handle.state is WorkerState.STOPPING
        body = {
            "worker": handle.name,
            "pool_uid": self.uid,
            "pid": handle.process.pid if handle.process else 0,
            "exit": f"{how}, cut after its grace" if late else how,
            "job_id": status.job_id if status and status.state == "busy" else None,
        }
        self._link.event("worker.lost", self._options.signature | body)
        reason = "it did not end within its grace" if late else "it was lost"
        self._settle(handle, f"Worker {handle.name} ended ({how}) while it ran this job: {reason}.", failure_ttl)

    def _settle(self, handle: Handle, why: str, failure_ttl: int) -> None:
        """Its jobs at once; then what needs the pool's interpreter, and takes as long as that needs to start."""
        lost = Lost(handle.name, why)
        self._link.reap(Order(lost, self.uid, handle.config, failure_ttl))
        self.chores.recover(handle, lost)
