"""What a job and all that it started use, seen from its worker: /proc, a few times a second.

The worker is the reaper of the orphans below it, so a process cannot leave the tree by outliving its parent.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pools.runtime.sandbox import system
from pools.runtime.sandbox.enclosure import NOT_ENCLOSED
from pools.runtime.sandbox.folder import Folder
from pools.runtime.sandbox.limits import CPU, MEMORY, MIB, NOT_SET_UP, OUTPUT, PROCESSES, Isolation

log = logging.getLogger("rq.worker")

_TICKS = os.sysconf("SC_CLK_TCK")
END_SECONDS = 5.0
# Between two looks; and how many times as long as a look took the next one waits.
LOOK_SECONDS, REST = 0.25, 10
HELD = ("RssAnon:", "RssShmem:", "VmSwap:")


@dataclass(frozen=True)
class Use:
    """``memory`` in bytes, ``cpu`` in seconds."""

    memory: int
    cpu: float
    processes: int


class Meter:
    """One worker's jobs, one after the other, each in a horse. Other horses may wait for theirs meanwhile."""

    def __init__(self, allowed: Isolation) -> None:
        """Before the first horse. Processes that the application has started by then are left alone."""
        system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
        self._allowed = allowed
        self._spared = set(children(os.getpid()))
        # What forks the horses: this process, or a zygote, which reaps what is below it.
        self.root = os.getpid()
        self.next_look = 0.0
        self._horse = 0
        self._folder: Folder | None = None
        self._base: Use | None = None
        self._written = 0

    def spare(self, pid: int) -> None:
        """A child of the worker that is its own. The pid of one that is gone may come back as a job's."""
        self._spared = self._spared.intersection(children(os.getpid())) | {pid}

    def begin(self, horse: int, folder: Folder) -> None:
        """A job is about to begin, in this horse: what its earlier jobs used is not its own."""
        self._base = None  # a new horse shares the memory of what forked it: its count begins with that
        self._written = 0
        if horse == self._horse:
            self._bury()
            self._base, self._written = self._use(), folder.written(1 << 62)
        self._horse, self._folder = horse, folder
        self.next_look = time.monotonic() + LOOK_SECONDS

    def overrun(self) -> str:
        """The limit that the job has broken, as a dead letter says it; empty while there is none, or no look is due."""
        before = time.monotonic()
        if before < self.next_look:
            return ""
        why = self._broken()
        after = time.monotonic()
        self.next_look = after + max(LOOK_SECONDS, (after - before) * REST)
        return why

    def over(self, status: int) -> str:
        """The horse has ended so: end what it left, and return what its status tells of the limits."""
        self._horse = 0
        self._end_all()
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return CPU.format(self._allowed.cpu)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == NOT_ENCLOSED:
            return NOT_SET_UP
        return ""

    def _broken(self) -> str:
        self._bury()
        allowed, use = self._allowed, self._use()
        base = self._base = self._base or Use(memory(self.root), 0.0, 0)
        held, cpu = use.memory - base.memory, use.cpu - base.cpu
        if held > allowed.memory * MIB:
            return MEMORY.format(allowed.memory)
        if cpu > allowed.cpu:
            return CPU.format(allowed.cpu)
        if use.processes > allowed.processes:
            return PROCESSES.format(allowed.processes)
        most = self._written + allowed.output * MIB
        if self._folder is not None and self._folder.written(most) >= most:
            return OUTPUT.format(allowed.output)
        return ""

    def _end_all(self) -> None:
        """Kill whatever a dead horse left running. Children alone: their pids are theirs until we have reaped them.

        Each child's own children are ours the moment it is dead.
        """
        deadline = time.monotonic() + END_SECONDS
        while left := self._orphans():
            if time.monotonic() > deadline:
                log.error("A job left processes that do not end: %s", left)
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            self._bury()
            time.sleep(0.002)

    def _orphans(self) -> list[int]:
        return [pid for pid in children(os.getpid()) if pid not in self._spared]

    def _bury(self) -> None:
        """Reap what has ended: a zombie counts as a process."""
        for pid in self._orphans():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _use(self) -> Use:
        pids = [self._horse, *descendants(self.root, {*self._spared, self._horse}), *descendants(self._horse)]
        return Use(sum(map(memory, pids)), sum(map(_cpu, pids)), sum(map(_tasks, pids)))


def children(pid: int) -> list[int]:
    """Of all threads of a process; none when it is gone."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def descendants(pid: int, spared: set[int] | None = None) -> Iterator[int]:
    for child in children(pid):
        if spared is None or child not in spared:
            yield child
            yield from descendants(child)


def memory(pid: int) -> int:
    """Bytes that a process holds and that no file backs; pages that it shares count in full. 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(HELD))


def _cpu(pid: int) -> float:
    """Seconds, those of its ended children among them."""
    return sum(map(int, _stat(pid)[11:15])) / _TICKS


def _tasks(pid: int) -> int:
    return int((_stat(pid) or ["0"] * 18)[17])


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()
