"""The process that runs a worker's jobs, and how the two speak: down go jobs, up come two bytes for each, at its end.

What a horse sends is never read as more than those bytes: jobs are the application's code.
"""

import contextlib
import errno
import marshal
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pools.runtime.sandbox.folder import Folder

if TYPE_CHECKING:
    from pools.runtime.stable import Stable

LENGTH_BYTES = 4
# What a pipe takes at once, so that a horse that does not read cannot stop its worker.
LARGEST = 32 * 1024
# What a horse says: the end of its job is about to be written; that is over; the same, and the end is a success.
ENDING, OVER, DONE = b",", b";", b"."
# An end that the retry budget forbids is written as another. More says only a job that writes into the pipe.
MOST_ENDINGS = 2
# What it is told once its job has been started.
BEGIN = b"!"


@dataclass(frozen=True)
class Ended:
    """How a horse ended: its wait status and what it used."""

    status: int
    usage: Any


class Horse:
    """The worker's side of one horse, which waits for jobs and serves up to ``jobs`` of them. See stable.py.

    ``folder`` is its own, in a pool with isolation. ``done``: it says that its last job succeeded.
    """

    done = False

    def __init__(self, stable: "Stable", jobs: int, folder: Folder | None, down: int, up: int) -> None:
        """It is on its way. ``down``, ``up``: the worker's ends of its pipes."""
        self.folder = folder
        self._stable = stable
        self._down, self._up, self._death = down, up, -1
        self._left, self._endings = jobs, 0
        self._pid: int | None = None
        self._ended: Ended | None = None

    def made(self, pid: int) -> None:
        """By its stable; 0: it could not be made."""
        self._pid = pid
        if pid:
            # Not the pipe's end: what a job started may hold it open longer than the horse lives.
            with contextlib.suppress(ProcessLookupError):
                self._death = os.pidfd_open(pid)
        if self._death < 0:
            self._over(Ended(int(signal.SIGKILL), None))

    @property
    def pid(self) -> int:
        """Raises OSError when there was no process or memory to spare for it."""
        if self._pid is None:
            self._stable.settle()
        if not self._pid:
            raise OSError(errno.EAGAIN, "no process could be made for a job")
        return self._pid

    @property
    def spent(self) -> bool:
        """Whether it has been given its last job."""
        return self._left == 0

    @property
    def finished(self) -> bool:
        """Whether it has been given its last job, or is dead."""
        return self.spent or self._ended is not None

    def takes_another(self) -> bool:
        if self._pid is None:
            self._stable.settle()
        return self._left > 0 and self._ended is None and not select.select([self._death], [], [], 0)[0]

    def send(self, job: Any) -> None:
        """Give it its next job, at most ``LARGEST`` bytes. Should it have died, ``wait`` says so."""
        self._left, self._endings, self.done = self._left - 1, 0, False
        body = marshal.dumps(job)
        data = len(body).to_bytes(LENGTH_BYTES) + body
        try:
            while data:
                data = data[os.write(self._down, data) :]
        except BrokenPipeError:
            pass

    def begin(self) -> None:
        """Let it begin the job that it was sent."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._down, BEGIN)

    def wait(self, seconds: float | None = None, ending: Callable[[], None] = lambda: None) -> Ended | None:
        """Until its job is over or it has died. None: the job is over, and the horse lives. Raises TimeoutError.

        ``ending`` is called when it says that the job's end is about to be written.
        """
        if self._ended is not None:
            return self._ended
        while True:
            ready = select.select([self._up, self._death], [], [], seconds)[0]
            if not ready:
                raise TimeoutError
            said = os.read(self._up, 1) if self._up in ready else b""
            if said in (OVER, DONE):
                self.done = said == DONE
                return None
            self._endings += 1
            if said != ENDING or self._endings > MOST_ENDINGS:
                self.kill()
                return self._reap()
            ending()

    def last_word(self) -> Ended:
        """How it ended that was killed: in good order, if by then its job was over."""
        select.select([self._death], [], [])
        os.set_blocking(self._up, False)
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._up, LARGEST)
            self.done = DONE in said
            if self.done or OVER in said:
                return self._over(Ended(os.EX_OK, self._stable.reap(self.pid).usage))
        return self._reap()

    def kill(self) -> None:
        """It and what it started, as far as that stayed in its group; by its own pid, too, should it have left that."""
        if self._ended is None:
            for end in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    end(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """It waits for a job, or has said that its last one is over: it shall end."""
        if self._pid is None:
            self._stable.settle()
        if self._ended is None:
            os.close(self._down)
            self._down = -1
            if self.spent:
                os.kill(self.pid, signal.SIGKILL)  # it ends anyway; nothing that its jobs left behind is to delay that

    def part(self) -> int | None:
        """Once it was let go: its wait status, None when it had ended before."""
        if self._ended is not None:
            return None
        if self.spent and self.folder is None:  # else its end comes before the next job's start
            self._stable.bury(self.pid)
            return self._over(Ended(int(signal.SIGKILL), None)).status
        return self._reap().status

    def _reap(self) -> Ended:
        return self._over(self._stable.reap(self.pid))

    def _over(self, ended: Ended) -> Ended:
        self._ended = ended
        for fd in (self._down, self._up, self._death):
            if fd >= 0:
                os.close(fd)
        return ended


class Line:
    """The horse's side."""

    def __init__(self, down: int, up: int, jobs: int) -> None:
        self._down, self._up, self._jobs, self._left = down, up, jobs, jobs

    def next(self, *, done: bool) -> Any:
        """Say that a job is over, if there was one, and wait for the next; None when there will be none.

        ``done``: whether it succeeded.
        """
        if self._left < self._jobs:
            os.write(self._up, DONE if done else OVER)
        if not self._left:
            return None
        self._left -= 1
        head = self._read(LENGTH_BYTES)
        return marshal.loads(self._read(int.from_bytes(head))) if head else None  # noqa: S302  # from the worker itself

    def begins(self) -> bool:
        """Wait for the word to begin the job; False when it will not come."""
        return self._read(len(BEGIN)) == BEGIN

    def ending(self) -> None:
        """Say that the job is done and its end about to be written."""
        os.write(self._up, ENDING)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = os.read(self._down, size - len(data))
            if not part:
                return b""
            data += part
        return data
