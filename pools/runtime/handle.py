"""One worker as its agent holds it: started by this agent, or found running by the next one."""

import contextlib
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pools.runtime import checkpoint
from pools.runtime.channel import Channel, Control, Status
from pools.runtime.files import read_json, write_json
from pools.runtime.processes import ProcessId
from pools.runtime.reconciler import ACTIVE, TRANSITIONS, Seen, WorkerState

RECORD = "record.json"
KNOWN = ("name", "pool_uid", "config", "build", "started_at", "restarts", "grace")
# A worker that has not loaded its application by then never will.
BOOT_SECONDS = 120.0


@dataclass(frozen=True)
class Ended:
    """How a worker's process ended. ``exit`` for people; ``code`` as subprocess gives it, None for an adopted one."""

    code: int | None
    exit: str


@dataclass
class Handle:
    """``config`` is the version the worker stands for; ``started_at`` Unix time; ``grace`` seconds until SIGKILL.

    ``deadline`` is on the monotonic clock, set while the worker stops. ``loaded``: it has reported ready once.
    """

    name: str
    pool_uid: str
    config: int
    build: str
    started_at: float
    restarts: int
    grace: float
    channel: Channel
    state: WorkerState = WorkerState.STARTING
    loaded: bool = False
    process: ProcessId | None = None
    child: subprocess.Popen[bytes] | None = None
    deadline: float | None = None
    leaving_since: float = 0.0
    asked_to_save: bool = False

    def seen(self, *, busy: bool = False) -> Seen:
        return Seen(self.name, self.build, self.state, busy)

    @classmethod
    def adopt(cls, directory: Path) -> "Handle | None":
        """The worker that an earlier agent left in ``directory``, dead or alive; None when nothing tells of one."""
        record = read_json(directory / RECORD)
        channel = Channel(directory)
        status = channel.status()
        if record is None or status is None or not {*KNOWN, "state"} <= record.keys():
            return None
        known = {key: record[key] for key in KNOWN}
        handle = cls(**known, channel=channel, process=status.process, state=WorkerState(record["state"]))
        handle.leaving_since = time.monotonic()
        if handle.state is WorkerState.STOPPING:
            handle.deadline = handle.leaving_since + handle.grace
        handle.notice_ready(status)
        return handle

    def save(self) -> None:
        """Raises OSError."""
        body: dict[str, Any] = {key: getattr(self, key) for key in KNOWN} | {"state": self.state.value}
        write_json(self.channel.directory / RECORD, body, durable=False)

    def move(self, state: WorkerState) -> None:
        """Raises ValueError on a step that the life of a worker does not have."""
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"worker {self.name} cannot go from {self.state} to {state}")
        self.state = state
        self.save()

    def notice_ready(self, status: Status | None) -> bool:
        """Returns True when the worker has loaded its application since it was last asked."""
        if self.loaded or status is None or status.state == "starting":
            return False
        self.loaded = True
        if self.state is WorkerState.STARTING:
            self.move(WorkerState.RUNNING)
        return True

    def order(self, control: Control) -> None:
        """Tell the worker what it may do, if that is new. Raises OSError."""
        if self.channel.control() != control:
            self.channel.order(control)
        if self.config != control.config:
            self.config = control.config
            self.save()

    def drain(self, now: float) -> None:
        """No new job; the running one finishes, however long it takes."""
        if self.state in ACTIVE:
            self.move(WorkerState.DRAINING)
            self.leaving_since = now
            self.signal(signal.SIGTERM)

    def stop(self, now: float, timeout: float | None) -> None:
        """Like ``drain``, but with an end: SIGKILL after ``timeout`` or the pool's own grace."""
        if self.state is WorkerState.STOPPING:
            return
        draining = self.state is WorkerState.DRAINING
        self.move(WorkerState.STOPPING)
        self.deadline = now + (self.grace if timeout is None else timeout)
        if not draining:
            self.signal(signal.SIGTERM)

    def overdue(self, now: float) -> bool:
        """Whether patience has ended: with a stop, a start, or a draining worker that has no job and yet stays."""
        if self.deadline is not None:
            return now >= self.deadline
        if self.state is WorkerState.STARTING:
            return time.time() >= self.started_at + BOOT_SECONDS
        return self.state is WorkerState.DRAINING and now >= self.leaving_since + self.grace and not self.has_job()

    def asks_to_save(self) -> bool:
        """Whether the running job is given a last time for what it has to do before it ends. Once."""
        status = self.channel.status()
        horse = status.horse if status else None
        if self.asked_to_save or self.state is not WorkerState.STOPPING or self.deadline is None or horse is None:
            return False
        if not (horse.alive and checkpoint.is_awaited_by(horse.pid)):
            return False
        self.asked_to_save = True
        self.deadline += checkpoint.SECONDS
        with contextlib.suppress(OSError):
            checkpoint.ask(horse.pid)
        return True

    def has_job(self) -> bool:
        status = self.channel.status()
        return status is not None and status.horse is not None and status.horse.alive

    def signal(self, number: signal.Signals) -> None:
        if self.child is not None:
            self.child.send_signal(number)  # a zombie at worst: the pid is ours until it is reaped
        elif self.process is not None:
            self.process.signal(number)

    def kill(self) -> None:
        """The worker first, so that it cannot start another job; then its horse, and what that started."""
        self.signal(signal.SIGKILL)
        self.kill_horse()

    def kill_horse(self) -> None:
        status = self.channel.status()
        if status is not None and status.horse is not None:
            status.horse.kill_group()

    def ended(self) -> Ended | None:
        """None while the process lives."""
        if self.child is not None:
            code = self.child.poll()
            if code is None:
                return None
            return Ended(code, f"signal {-code}" if code < 0 else f"exit {code}")
        if self.process is not None and self.process.alive:
            return None
        return Ended(None, "unknown: its agent was away")

    def left_in_good_order(self, ended: Ended) -> bool:
        """Whether nothing is left to repair. A worker that never loaded its application never took a job."""
        status = self.channel.status()
        return not self.loaded or (ended.code in (0, None) and status is not None and status.state == "stopped")
