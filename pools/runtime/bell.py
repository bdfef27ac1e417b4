"""How an agent wakes the idle workers of a pool on its host: a named pipe for each pool, a byte for each wake-up.

A byte wakes one worker, whichever hears it first; the agent need not know who is idle. It carries nothing: a worker
that hears it looks for work, as it does now and then without. So a lost, stale or forged ring does no harm.
"""

import array
import contextlib
import fcntl
import os
import select
import termios
from pathlib import Path


class Bell:
    """Both ends. The pipe outlives its users: either side may be killed and come back."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Open for both, so that neither side sees an end of file when the other one is gone.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._pipe, select.POLLIN)

    def unheard(self) -> int:
        """How many rings nobody has heard yet."""
        count = array.array("i", [0])
        fcntl.ioctl(self._pipe, termios.FIONREAD, count)
        return count[0]

    def ring(self, times: int, *, most: int) -> None:
        """Wake ``times`` workers; with those who have not heard yet, ``most``."""
        if (times := min(times, most - self.unheard())) > 0:
            os.write(self._pipe, b"." * min(times, select.PIPE_BUF))

    def wait(self, seconds: float) -> bool:
        """Whether it rang within that time, for this worker."""
        if not self._poll.poll(seconds * 1000):
            return False
        try:
            return bool(os.read(self._pipe, 1))
        except BlockingIOError:  # another worker was quicker
            return False

    def close(self) -> None:
        os.close(self._pipe)
