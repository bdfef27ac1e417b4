"""Signals as data: a handler only notes its signal, the main loop acts on it."""

import os
import select
import signal
from collections.abc import Sequence
from types import FrameType


class SignalInbox:
    """``wait`` ends early when one of ``numbers`` arrives; SIGCHLD among them wakes the loop for reaping."""

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self._seen: list[int] = []
        self._reader, writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, self._note)

    def wait(self, seconds: float) -> list[int]:
        """Signals since the last call, waiting for up to ``seconds`` for one."""
        readable, _, _ = select.select([self._reader], [], [], seconds)
        if readable:
            os.read(self._reader, 4096)
        seen, self._seen = self._seen, []
        return seen

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen.append(number)
