"""Repair after lost workers, and the regular clean-up: run in processes of the pool's own interpreter, one at a time.

A lost worker's folder stays on disk until its repair has succeeded, so a restarted agent, or a Redis that comes back
later, finds the work still to do.
"""

import contextlib
import logging
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from pools.runtime import recipe
from pools.runtime.handle import Handle
from pools.runtime.options import Options
from pools.runtime.supervisor import forget, spawn, tail
from pools.runtime.worker_config import Lost
from pools.signing import VerifiedConfig
from pools.spec import PoolSpec

log = logging.getLogger("poolwarden.agent")

TIMEOUT_SECONDS = 120.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 1.0, 60.0


@dataclass
class _Round:
    child: subprocess.Popen[bytes]
    lost: list[Handle]
    deadline: float


@dataclass
class Chores:
    """What waits to be repaired in one pool, and the process at work on it."""

    options: Options
    output: Path
    _lost: dict[str, tuple[Handle, Lost]] = field(default_factory=dict)
    _tidy: bool = False
    _round: _Round | None = None
    _not_before: float = 0.0
    _wait: float = FIRST_RETRY_SECONDS

    def recover(self, handle: Handle, lost: Lost) -> None:
        self._lost[handle.name] = (handle, lost)
        self._not_before = 0.0

    def tidy(self) -> None:
        self._tidy = True

    @property
    def idle(self) -> bool:
        return self._round is None and not self._lost

    def tick(self, config: VerifiedConfig[PoolSpec], now: float) -> None:
        """Look after the running process, or start one if there is something to do."""
        if self._round is not None:
            self._look_after(self._round, now)
        elif (self._lost or self._tidy) and now >= self._not_before:
            self._begin(config, now)

    def end(self) -> None:
        """The agent stops: what is left to do stays on disk."""
        if self._round is not None:
            self._round.child.kill()
            self._round.child.wait()

    def _begin(self, config: VerifiedConfig[PoolSpec], now: float) -> None:
        lost = [lost for _, lost in self._lost.values()]
        name = f"upkeep-{self.options.name}-{uuid.uuid4().hex[:8]}"
        told = recipe.upkeep(self.options, config, name, self.output.parent, lost=lost, tidy=self._tidy)
        self.output.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.output.unlink(missing_ok=True)
        try:
            child = spawn(config.spec, told, self.output)
        except OSError as error:
            log.warning("Upkeep of pool %s cannot be started: %s", config.payload.pool, error)
            self._postpone(now)
            return
        self._round = _Round(child, [handle for handle, _ in self._lost.values()], now + TIMEOUT_SECONDS)

    def _look_after(self, work: _Round, now: float) -> None:
        if now >= work.deadline:
            with contextlib.suppress(ProcessLookupError):
                work.child.kill()
        code = work.child.poll()
        if code is None:
            return
        self._round = None
        if code != 0:
            log.warning("Upkeep failed (%s), will be tried again: %s", code, tail(self.output))
            self._postpone(now)
            return
        self._tidy, self._wait = False, FIRST_RETRY_SECONDS
        for handle in work.lost:
            self._lost.pop(handle.name, None)
            forget(handle)

    def _postpone(self, now: float) -> None:
        self._not_before = now + self._wait
        self._wait = min(self._wait * 2, LONGEST_RETRY_SECONDS)
