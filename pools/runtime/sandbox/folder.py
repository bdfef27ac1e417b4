"""A job's own folder: where it may write, whatever else its pool allows. Made and removed by its worker.

One in which a job left nothing may be the next one's: making files is slow where many were removed a moment ago.
"""

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

# What of a job's output goes on into its worker's.
KEPT_BYTES = 64 * 1024
# An empty file takes room, too.
SMALLEST = 4096
# Of a folder that holds jobs' folders: to pass, not to list.
SHARED_MODE = 0o711
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Folder:
    """``temporary`` is the job's temporary folder. What the job prints lies beside it, and counts with it."""

    def __init__(self, worker: str, uid: int, gid: int, base: str | None = None) -> None:
        """``base``: where it is made; by default the worker's temporary folder. Raises OSError."""
        self.path = tempfile.mkdtemp(prefix=prefix(worker), dir=base)
        self.temporary = os.path.join(self.path, "tmp")
        os.mkdir(self.temporary, 0o700)
        # Opened before the job could put something else in its place.
        self._output = os.open(os.path.join(self.path, "output"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        if os.getuid() == 0:
            for path in (self.path, self.temporary):
                os.chown(path, uid, gid)
            os.fchown(self._output, uid, gid)
        self._made, self._passed = self._found(), 0

    @classmethod
    def at(cls, path: str) -> "Folder":
        """In a horse that another process forked: the folder that its worker made, before a job could touch it."""
        folder = cls.__new__(cls)
        folder.path, folder.temporary = path, os.path.join(path, "tmp")
        folder._output = os.open(os.path.join(path, "output"), os.O_RDWR | os.O_APPEND)
        return folder

    def enter(self) -> None:
        """In the job's process: print into the folder, and keep temporary files there."""
        os.dup2(self._output, 1)
        os.dup2(self._output, 2)
        os.environ["TMPDIR"] = tempfile.tempdir = self.temporary

    def written(self, enough: int) -> int:
        """Bytes on disk below the folder, counted until ``enough``. What cannot be counted is enough."""
        total, places = 0, [self.path]
        try:
            while places and total < enough:
                with os.scandir(places.pop()) as entries:
                    for entry in entries:
                        found = entry.stat(follow_symlinks=False)
                        total += max(found.st_blocks * 512, SMALLEST)
                        if stat.S_ISDIR(found.st_mode):
                            places.append(entry.path)
                        if total >= enough:
                            break
        except FileNotFoundError:
            pass  # the job removes what is counted; the next look counts anew
        except OSError:  # not to be listed, or nested too deep to be named
            return enough
        return total

    def clear(self) -> bool:
        """Pass the end of what the job printed on to the worker's output. True when the job, whose processes are gone,
        left nothing else: then the folder is as it was made.
        """
        self._pass_on()
        try:
            if self._found() != self._made:
                return False
            os.ftruncate(self._output, 0)
        except OSError:
            return False
        self._passed = 0
        return True

    def remove(self) -> None:
        """Pass the end of what the job printed on to the worker's output, and remove everything."""
        self._pass_on()
        os.close(self._output)
        self._remove()

    def _pass_on(self) -> None:
        size = os.fstat(self._output).st_size
        if size > self._passed:
            tail = os.pread(self._output, KEPT_BYTES, max(self._passed, size - KEPT_BYTES))
            self._passed = size
            with contextlib.suppress(OSError):  # the disk may be full
                sys.stderr.buffer.write(tail)
                sys.stderr.flush()

    def _found(self) -> list[object]:
        """What there is, whose it is and for whom, whatever a job has put in whose place. Raises OSError."""
        here = os.open(self.path, _FOLDER)
        try:
            temporary = os.open("tmp", _FOLDER, dir_fd=here)
            try:
                named = os.stat("output", dir_fd=here, follow_symlinks=False)
                files = [_look(fd) for fd in (here, temporary, self._output)]
                return [*files, named.st_dev, named.st_ino, sorted(os.listdir(here)), os.listdir(temporary)]
            finally:
                os.close(temporary)
        finally:
            os.close(here)

    def _remove(self) -> None:
        """Fast when the job left nothing. A job may have put something else in the folder's place."""
        try:
            here = os.open(self.path, _FOLDER)
            try:
                os.unlink("output", dir_fd=here)
                os.rmdir("tmp", dir_fd=here)
            finally:
                os.close(here)
            os.rmdir(self.path)
        except OSError:
            _remove(Path(self.path))


def _look(fd: int) -> tuple[object, ...]:
    found, names = os.fstat(fd), list[str]()
    with contextlib.suppress(OSError):  # not every file system has any
        names = os.listxattr(fd)  # access control lists are among them
    return found.st_dev, found.st_ino, found.st_mode, found.st_uid, found.st_gid, found.st_nlink, names


def sweep(worker: str) -> None:
    """Remove what a dead worker left."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix(worker)}*"):
        _remove(path)


def _remove(path: Path) -> None:
    """A job may have locked its own folders; its processes are gone, so nothing moves meanwhile."""
    if os.getuid() != 0:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
        for place, folders, _ in os.walk(path):
            for inner in (os.path.join(place, name) for name in folders):
                with contextlib.suppress(OSError):  # nested too deep to be named
                    if not os.path.islink(inner):
                        os.chmod(inner, 0o700)
    shutil.rmtree(path, ignore_errors=True)


def prefix(worker: str) -> str:
    return f"poolwarden-job-{worker}-"
