"""What the signed spec allows one job: the isolation part, as the runtime holds it; and how a broken limit is told."""

import errno
import socket
from dataclasses import dataclass

MIB = 1024 * 1024

# A dead letter begins so, and is grouped by the name before the colon.
MEMORY = "MemoryLimitError: it held more than the {} MiB of memory that the pool's isolation allows."
CPU = "CpuLimitError: it used more than the {} s of processor time that the pool's isolation allows."
PROCESSES = "ProcessLimitError: it had more than the {} processes and threads that the pool's isolation allows."
OUTPUT = "OutputLimitError: it wrote more than the {} MiB that the pool's isolation allows."
NOT_SET_UP = "IsolationError: its isolation could not be set up, so it was not run. The worker's output says why."


@dataclass(frozen=True)
class Isolation:
    """``memory`` and ``output`` in MiB, ``cpu`` in seconds; ``egress``: ``host:port``; the rest are counts and paths.
    Idle without profile.
    """

    profile: str
    memory: int
    cpu: int
    open_files: int
    processes: int
    output: int
    writable: list[str]
    egress: list[str]

    @property
    def encloses(self) -> bool:
        return self.profile != "none"

    @property
    def sandboxed(self) -> bool:
        return self.profile == "strict"

    def explain(self, error: BaseException | None) -> str:
        """The limit that an exception in the job may come from, for people; empty when it looks like none."""
        number = error.errno if isinstance(error, OSError) else None
        if isinstance(error, MemoryError) or number == errno.ENOMEM:
            return f"The pool's isolation allows a job {self.memory} MiB of memory."
        if number == errno.EMFILE:
            return f"The pool's isolation allows a job {self.open_files} open files in each process."
        if number == errno.EAGAIN or (isinstance(error, RuntimeError) and "start new thread" in str(error)):
            return f"The pool's isolation allows a job {self.processes} processes and threads."
        if number == errno.EFBIG:
            return f"The pool's isolation allows a job to write {self.output} MiB."
        if self.sandboxed and (number == errno.ENETUNREACH or isinstance(error, socket.gaierror)):
            return "The pool's isolation lets a job out through the proxy that HTTPS_PROXY names, as egress allows."
        if number in (errno.EPERM, errno.EACCES, errno.EAFNOSUPPORT):
            return "The pool's isolation lets a job write to its temporary folder and the spec's writable folders only."
        return ""
