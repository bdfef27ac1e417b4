"""How an agent and its worker speak: one directory a worker, holding files that each replaces whole.

Files outlive both sides, so a restarted agent finds its workers, and a worker whose agent is dead goes on.

| file | written by | holds |
|---|---|---|
| control.json | agent | Control: may the worker take jobs, and which config version it now stands for |
| status.json | worker | Status: which process it is, what it does |
| isolation.json | worker | what it found in force for its jobs, by control: whether and how. None without isolation |
| output.log | worker, horses | standard output and error, cut by the agent when it grows too long |

A worker whose control file is gone has been given up by its agent, and stops.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pools.runtime.files import read_json, write_json
from pools.runtime.processes import ProcessId
from pools.runtime.rules import Wish


@dataclass(frozen=True)
class Control:
    """``breakers``: what people want of them."""

    paused: bool
    config: int
    breakers: tuple[Wish, ...] = ()


@dataclass(frozen=True)
class Status:
    """``state``: starting, ready (application loaded), idle, paused, busy; at its end in good order stopped, or
    unheard when Redis was away and does not know.
    """

    state: str
    process: ProcessId
    job_id: str | None = None
    horse: ProcessId | None = None


class Channel:
    """One worker's directory. The agent makes and removes it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory / "output.log"
        self._control = directory / "control.json"
        self._status = directory / "status.json"
        self._isolation = directory / "isolation.json"
        self._seen: tuple[int, int] = (0, 0)
        self._last: Control | None = None

    def order(self, control: Control) -> None:
        """Agent's side. Raises OSError."""
        write_json(self._control, asdict(control), durable=False)

    def control(self) -> Control | None:
        """The agent's newest order, None when it has given this worker up. Costs one stat when nothing changed."""
        try:
            stat = self._control.stat()
        except FileNotFoundError:
            return None
        if (stat.st_mtime_ns, stat.st_ino) != self._seen:
            data = read_json(self._control)
            if data is None:
                return None
            wishes = tuple(Wish(**wish) for wish in data.get("breakers", []))
            self._last = Control(bool(data["paused"]), int(data["config"]), wishes)
            self._seen = (stat.st_mtime_ns, stat.st_ino)
        return self._last

    def report(self, status: Status) -> None:
        """Worker's side. Raises OSError, also when the agent removed the directory."""
        body: dict[str, Any] = {"state": status.state, "at": time.time(), "process": status.process.as_dict()}
        if status.job_id:
            body["job_id"] = status.job_id
        if status.horse:
            body["horse"] = status.horse.as_dict()
        write_json(self._status, body, durable=False)

    def status(self) -> Status | None:
        """What the worker last reported; None before its first report."""
        data = read_json(self._status)
        process = ProcessId.read(data.get("process")) if data else None
        if data is None or process is None:
            return None
        return Status(str(data["state"]), process, data.get("job_id"), ProcessId.read(data.get("horse")))

    def attest(self, controls: dict[str, tuple[bool, str]]) -> None:
        """Worker's side. Raises OSError."""
        write_json(self._isolation, controls, durable=False)

    def attested(self) -> dict[str, Any] | None:
        """Control → whether it holds, and how; None without isolation."""
        return read_json(self._isolation)
