"""Profile *strict*: what bubblewrap is told, so that a process sees a host of its own, and where its program lies.

https://github.com/containers/bubblewrap. Namespaces are named one by one: ``--unshare-all`` goes on silently without a
user namespace. The user is another before bubblewrap starts: ``--uid`` alone would leave root the host's root.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from pools.runtime.sandbox.folder import SHARED_MODE, prefix

NAMESPACES = ("user", "pid", "net", "ipc", "uts")


def program() -> str:
    """Where bubblewrap is. Raises OSError when it is on no folder of PATH."""
    found = shutil.which("bwrap")
    if not found:
        raise OSError("bubblewrap is not installed: there is no bwrap on PATH")
    return found


def base(worker: str) -> str:
    """A new folder for the folders of a worker's jobs: all that a sandbox sees of what its host may write."""
    path = tempfile.mkdtemp(prefix=prefix(worker))
    os.chmod(path, SHARED_MODE)
    return path


def start(
    command: Sequence[str],
    uid: int,
    gid: int,
    *,
    writable: Sequence[str],
    hidden: Sequence[str] = (),
    environment: Mapping[str, str],
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Run a command in namespaces of its own, dead with its parent. ``hidden``: folders that are empty in there."""
    told = [program(), *(f"--unshare-{name}" for name in NAMESPACES), "--die-with-parent", "--new-session"]
    told += ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for path in writable:
        told += ["--bind", path, path]
    for path in hidden:
        told += ["--tmpfs", path]
    if os.getuid() == 0:
        options |= {"user": uid, "group": gid, "extra_groups": []}
    return subprocess.Popen(
        [*told, "--chdir", os.getcwd(), "--", *command], env=environment, stdin=subprocess.DEVNULL, **options
    )
