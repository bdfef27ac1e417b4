"""The process that forks a worker's horses, and waits for them.

What a process writes to after a fork is faulted in anew, page by page, and a worker writes to hundreds of pages between
two jobs. Forked from this process, which does nothing else, a horse costs its worker nothing.

The stable is forked from its worker once that has loaded everything, and dies with it, as horses die with the stable.
Requests and answers are marshalled tuples on one socket, in order; no job's code ever holds it.
"""

import contextlib
import errno
import gc
import marshal
import os
import resource
import signal
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from pools.runtime.horse import Ended, Horse, Line
from pools.runtime.processes import die_with_parent
from pools.runtime.sandbox.folder import Folder

_LARGEST_MESSAGE = 8192
# A job of the same user may stop the stable where Landlock does not forbid that: it is given up then.
ANSWER_SECONDS = 30.0
# What is told of a horse whose stable died: the kernel killed both.
_KILLED = Ended(int(signal.SIGKILL), None)


class Stable:
    """The worker's side. ``broken``: it has died, and its horses with it, or does not answer."""

    def __init__(self, serve: Callable[[Line, str], None], prepare: Callable[[], None] = lambda: None) -> None:
        """Fork. ``serve`` is called in a new horse with the path of its folder, and must not return; ``prepare`` in the
        stable, before the first. Raises OSError.
        """
        worker = os.getpid()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if self.pid == 0:
            ours.close()
            if die_with_parent(worker):
                with contextlib.suppress(BaseException):
                    prepare()
                    _keep(theirs, serve)
            os._exit(1)
        theirs.close()
        ours.settimeout(ANSWER_SECONDS)
        self._socket = ours
        self._unanswered: deque[Callable[[Any], None]] = deque()
        self.broken = False

    def horse(self, jobs: int, folder: Folder | None) -> Horse:
        """One that is on its way. Raises OSError."""
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        try:
            self._ask(("fork", jobs, folder.path if folder else ""), down_read, up_write)
        except OSError:
            os.close(down_write)
            os.close(up_read)
            raise
        finally:
            os.close(down_read)
            os.close(up_write)
        horse = Horse(self, jobs, folder, down_write, up_read)
        self._unanswered.append(lambda answer: horse.made(answer[0] if answer else 0))
        return horse

    def settle(self) -> None:
        """Wait for all horses that are on their way. One that cannot be made is over at once."""
        while self._unanswered:
            self._unanswered.popleft()(self._answer())

    def reap(self, pid: int) -> Ended:
        """When the horse has ended. Until then its pid is nobody else's."""
        self.settle()
        try:
            self._ask(("reap", pid))
        except OSError:
            return _KILLED
        answer = self._answer()
        return Ended(answer[0], resource.struct_rusage(answer[1])) if answer else _KILLED

    def bury(self, pid: int) -> None:
        """The same for one that was killed, and whose end nobody asks for."""
        with contextlib.suppress(OSError):
            self._ask(("reap", pid))
            self._unanswered.append(lambda answer: None)

    def close(self) -> None:
        """Its last horse has ended."""
        self._socket.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _ask(self, request: Any, *fds: int) -> None:
        if self.broken:
            raise BrokenPipeError(errno.EPIPE, "the stable is gone")
        try:
            socket.send_fds(self._socket, [marshal.dumps(request)], fds)
        except OSError:
            self.broken = True
            raise

    def _answer(self) -> Any:
        """None when the stable is gone, or does not answer."""
        said = b""
        with contextlib.suppress(OSError):
            said = self._socket.recv(_LARGEST_MESSAGE)
        if not said:
            self.broken = True
            return None
        return marshal.loads(said)  # noqa: S302  # no job's code runs in the stable


def _keep(control: socket.socket, serve: Callable[[Line, str], None]) -> None:
    """In the stable, until its worker closes the socket."""
    gc.freeze()
    stable = os.getpid()
    while True:
        said, fds, _, _ = socket.recv_fds(control, _LARGEST_MESSAGE, 2)
        if not said:
            os._exit(os.EX_OK)
        kind, number, *more = marshal.loads(said)  # noqa: S302  # from the worker itself
        if kind == "reap":
            _, status, usage = os.wait4(number, 0)
            control.sendall(marshal.dumps((status, tuple(usage))))
            continue
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid == 0:
            os.setpgid(0, 0)
            control.close()
            if die_with_parent(stable):
                serve(Line(fds[0], fds[1], number), *more)
            os._exit(1)
        for fd in fds:
            os.close(fd)
        if pid > 0:
            # What ends a horse is sent to its group, which is never the worker's: whichever side comes first makes it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpgid(pid, pid)
        control.sendall(marshal.dumps((max(pid, 0),)))
