"""Children: start, watch, restart with backoff, end. Shutdown has a deadline and leaves no orphan.

``up`` makes itself the reaper of its descendants (PR_SET_CHILD_SUBREAPER), so a worker whose agent was killed comes
back to it and is found at the end. Signals only set a flag; the loop does the work.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

STOP_SECONDS = 8.0  # for all children together; the contract says 10 s
FIRST_DELAY, LONGEST_DELAY = 0.5, 15.0  # before a restart, seconds
STEADY_SECONDS = 30.0  # alive this long, a child is taken as healthy again
_PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Child:
    """One process to keep alive. ``stage``: those of a higher stage are ended first."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    stage: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = FIRST_DELAY
    due: float = 0.0

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started = time.monotonic()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tail(self, lines: int = 3) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.rstrip().splitlines()[-lines:])


@dataclass
class Family:
    """The children of one ``up``. ``say`` prints a line for the person at the terminal."""

    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)
    stopping: bool = False

    def adopt_orphans(self) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def add(self, child: Child) -> Child:
        self.children.append(child)
        child.start()
        return child

    def wait_until(self, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Watch the children until ``condition`` holds, a signal comes, or the time is up."""
        deadline = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < deadline:
            if condition():
                return True
            self.watch()
            time.sleep(0.1)
        return False

    def watch(self) -> None:
        """Restart what ended, each with its own growing delay, and reap orphans that came back to us."""
        now = time.monotonic()
        for child in self.children:
            if child.process is None and now >= child.due:
                child.start()
            elif child.process is not None and child.process.poll() is not None:
                self._ended(child, now)
            elif child.process is not None and now - child.started > STEADY_SECONDS:
                child.delay = FIRST_DELAY
        self._reap_orphans()

    def _ended(self, child: Child, now: float) -> None:
        assert child.process is not None
        self.say(f"{child.name} ended with {child.process.returncode}; starting it again in {child.delay:g} s")
        if child.process.returncode > 0 and child.tail():
            self.say(f"  {child.tail(1)}")
        _kill_group(child.process.pid)
        child.process, child.due = None, now + child.delay
        child.delay = min(child.delay * 2, LONGEST_DELAY)

    def _reap_orphans(self) -> None:
        ours = {child.process.pid for child in self.children if child.process is not None}
        for pid in _children_of(os.getpid()):
            if pid not in ours:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    def end(self) -> bool:
        """TERM by stage, highest first; KILL what the deadline finds alive, orphans too. True if nobody was killed."""
        deadline = time.monotonic() + STOP_SECONDS
        stages = sorted({child.stage for child in self.children}, reverse=True)
        for position, stage in enumerate(stages):
            group = [child for child in self.children if child.stage == stage and child.running]
            for child in group:
                assert child.process is not None
                child.process.terminate()
            # Keep a little time for each stage that follows.
            limit = deadline - 0.7 * (len(stages) - position - 1)
            while any(child.running for child in group) and time.monotonic() < limit:
                time.sleep(0.05)
        return not self._kill_descendants()

    def _kill_descendants(self) -> list[int]:
        killed: list[int] = []
        while left := [pid for pid in _descendants_of(os.getpid()) if not _is_zombie(pid)]:
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)
            self._reap_orphans()
            for child in self.children:
                child.running  # noqa: B018 - polling reaps it
        return killed


def _kill_group(leader: int) -> None:
    """What a killed child leaves behind: a web worker would go on answering beside its successor. RQ workers of an
    agent lead groups of their own and go on, as they should.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(entry.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.parent.name))
        except (OSError, IndexError):
            continue  # it ended while we looked
    return found


def _descendants_of(parent: int) -> list[int]:
    found, rest = [], [parent]
    while rest:
        children = _children_of(rest.pop())
        found += children
        rest += children
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
