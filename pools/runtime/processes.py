"""Telling one process from the next that gets its pid. Linux: /proc and prctl."""

import contextlib
import ctypes
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ProcessId:
    """A process, named so that neither a reused pid nor a reboot can be mistaken for it.

    ``start`` is field 22 of /proc/PID/stat (clock ticks since boot), ``boot`` the kernel's random boot id.
    """

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """The process that has this pid now; None when there is none, or only a zombie."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat, _boot_id())

    @classmethod
    def read(cls, data: Any) -> "ProcessId | None":
        if not isinstance(data, dict):
            return None
        return cls(int(data["pid"]), int(data["start"]), str(data["boot"]))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def alive(self) -> bool:
        return ProcessId.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if this very process still runs."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill_group(self) -> None:
        """SIGKILL the process and its group, when it leads one: a horse and whatever its job started."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.signal(signal.SIGKILL)


def die_with_parent(parent: int) -> bool:
    """Have the kernel SIGKILL this process when its parent dies. False when the parent was gone already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def _stat(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in brackets and may hold spaces and brackets itself: count from the last one.
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
