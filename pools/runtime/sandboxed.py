"""A worker's zygote, and the horses that it forks: what strict.py sees of the sandbox from outside.

Nothing that comes from a horse is more than JSON, and bytes that are passed on.
"""

import contextlib
import json
import marshal
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pools.runtime.sandbox import bubble, egress
from pools.runtime.sandbox.folder import Folder
from pools.runtime.worker_config import SecretAccess, WorkerConfig
from pools.runtime.zygote import LARGEST_HEAD, LARGEST_RESULT, LENGTH_BYTES, READY, STATUS

LAUNCHER = Path(__file__).with_name("launch.py")
START_SECONDS, FORK_SECONDS = 300.0, 30.0
_SCM_CREDENTIALS, _CREDENTIALS, _FD = 2, struct.Struct("iII"), struct.Struct("i")


class SandboxError(Exception):
    """The zygote did not start, or is gone."""


class Sandbox:
    """One worker's zygote. It is started anew when it has died; ``pid`` is its own, as the host counts."""

    def __init__(self, config: WorkerConfig, uid: int, gid: int) -> None:
        """Raises OSError, SandboxError."""
        # What it is told of its pool holds neither Redis nor secrets.
        self._config = replace(config, redis_url="", secrets=SecretAccess({}, [], {}), channel="", bell="")
        self._uid, self._gid = uid, gid
        # An agent that is its jobs' user could not keep its own folder from them.
        state = os.path.commonpath([config.channel, config.bell])
        self._hidden = [state] if os.getuid() == uid and Path(state).is_dir() else []
        self.base = bubble.base(config.worker)
        self._process: subprocess.Popen[bytes] | None = None
        self._egress: egress.Proxy | None = None
        self.start()

    def start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            fd = theirs.fileno()
            self._process = bubble.start(
                [sys.executable, str(LAUNCHER), "zygote", str(fd)],
                self._uid,
                self._gid,
                writable=[self.base, *self._config.isolation.writable],
                hidden=self._hidden,
                environment=dict(os.environ),
                pass_fds=[fd],
            )
        self._control = ours
        try:
            _send(ours, self._config.dumps().encode())
            self.pid, given = _hello(ours, START_SECONDS)
            if given is not None:
                self._let_out(socket.socket(fileno=given))
        except (OSError, EOFError) as error:
            self.end()
            raise SandboxError(f"the sandbox did not start: {error or type(error).__name__}") from None

    def _let_out(self, listening: socket.socket) -> None:
        allowed, worker = self._config.isolation.egress, self._config.worker
        with listening:
            self._egress = egress.Proxy(listening, allowed, self._uid, self._gid, worker=worker)

    def end_tunnels(self) -> None:
        """Those of a job that is over."""
        if self._egress is not None:
            self._egress.end_tunnels()

    @property
    def _processes(self) -> list[subprocess.Popen[bytes]]:
        proxy = self._egress.process if self._egress else None
        return [process for process in (self._process, proxy) if process is not None]

    @property
    def pids(self) -> list[int]:
        """Of its processes that are this one's children."""
        return [process.pid for process in self._processes]

    @property
    def alive(self) -> bool:
        return self._process is not None and all(process.poll() is None for process in self._processes)

    def fork(self, folder: Folder) -> "SandboxedHorse":
        """Ask for a horse, which is made when the one before it and all of its own are gone. Raises SandboxError."""
        ours, theirs = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            with theirs:
                socket.send_fds(self._control, [b"j"], [theirs.fileno()])
            _send(ours, folder.path.encode())
        except OSError as error:
            ours.close()
            self.end()
            raise SandboxError(f"the sandbox made no process: {error}") from None
        return SandboxedHorse(folder, ours, self._control)

    def end(self) -> None:
        """With all that runs in it: its process namespace ends with bubblewrap."""
        if self._egress is not None:
            self._egress.end()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._control.close()
        self._process = self._egress = None

    def close(self) -> None:
        self.end()
        shutil.rmtree(self.base, ignore_errors=True)


class SandboxedHorse:
    """One job's process. ``outcome``: what it said of its job, with its result as it is stored; None: nothing whole."""

    def __init__(self, folder: Folder, line: socket.socket, control: socket.socket) -> None:
        self.folder, self._line, self._control = folder, line, control
        self.pid, self._death = 0, -1
        self._said = bytearray()
        self._silent = False
        self.outcome: tuple[dict[str, Any], bytes] | None = None

    def meet(self) -> None:
        """Wait until it is there, for its job. Raises SandboxError."""
        try:
            self.pid, _ = _hello(self._line, FORK_SECONDS)
            self._death = os.pidfd_open(self.pid)
        except (OSError, EOFError) as error:
            raise SandboxError(f"the sandbox made no process: {error or type(error).__name__}") from None

    def close(self) -> None:
        """It never was, or is gone with its sandbox."""
        self._line.close()
        if self._death >= 0:
            os.close(self._death)
            self._death = -1

    def send(self, job: Any) -> None:
        with contextlib.suppress(OSError):  # should it have died, ``wait`` says so
            _send(self._line, marshal.dumps(job))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._death, signal.SIGKILL)

    def wait(self, seconds: float | None) -> bool:
        """Until it has told its outcome, or has ended. False: the time is over, or it said something."""
        reading: list[Any] = [self._death] if self._silent else [self._death, self._line]
        ready = select.select(reading, [], [], seconds)[0]
        if self._line in ready:
            self._hear()
        if self._death in ready:
            while not self._silent and self._hear():
                pass
        return self.outcome is not None or self._death in ready

    def reap(self) -> int | None:
        """Its wait status, when it and all that it started have ended; None when the sandbox is gone, or hangs."""
        status = b""
        with contextlib.suppress(OSError):
            self._control.settimeout(FORK_SECONDS)
            status = self._control.recv(STATUS.size)
            self._control.settimeout(None)
        self.close()
        return int(STATUS.unpack(status)[0]) if len(status) == STATUS.size else None

    def _hear(self) -> bool:
        """Take in a part. False when there is no more."""
        try:
            part = self._line.recv(1 << 20, socket.MSG_DONTWAIT)
        except OSError:
            part = b""
        if not part:
            self._silent = True
            return False
        self._said += part
        head, result = (int.from_bytes(self._said[at : at + LENGTH_BYTES]) for at in (0, LENGTH_BYTES))
        start = 2 * LENGTH_BYTES
        if head > LARGEST_HEAD or result > LARGEST_RESULT:
            self._silent = True
            self.kill()
        elif len(self._said) >= start + head + result > start:
            with contextlib.suppress(ValueError, RecursionError):
                told = json.loads(self._said[start : start + head])
                if isinstance(told, dict):
                    self.outcome = told, bytes(self._said[start + head : start + head + result])
            self._silent = True
            self.kill()  # it ends anyway; nothing that its job left behind is to delay that
        return not self._silent


def _send(line: socket.socket, body: bytes) -> None:
    line.sendall(len(body).to_bytes(LENGTH_BYTES) + body)


def _hello(line: socket.socket, seconds: float) -> tuple[int, int | None]:
    """The pid of who says it is ready, as the kernel tells it, and the descriptor that came with it, if any.

    Raises OSError, EOFError.
    """
    line.settimeout(seconds)
    said, ancillary, _, _ = line.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_FD.size))
    line.settimeout(None)
    if said != READY:
        raise EOFError("it ended")
    told = {kind: data for level, kind, data in ancillary if level == socket.SOL_SOCKET}
    pid: int = _CREDENTIALS.unpack(told[_SCM_CREDENTIALS][: _CREDENTIALS.size])[0]
    given = told.get(socket.SCM_RIGHTS)
    return pid, _FD.unpack(given[: _FD.size])[0] if given else None
