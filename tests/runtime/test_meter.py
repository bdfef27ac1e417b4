"""The meter and the folder alone, in a process of their own: as where the host gives no user namespace."""

import subprocess
import sys
from pathlib import Path

from tests.support.agents import ROOT

BOMB = """
import os, signal, sys, time
from pools.runtime.sandbox.folder import Folder
from pools.runtime.sandbox.limits import Isolation
from pools.runtime.sandbox.meter import Meter, children

allowed = Isolation("standard", 4096, 60, 64, 8, 16, [], [])
meter = Meter(allowed)
folder = Folder("meter", os.getuid(), os.getgid())
horse = os.fork()
if horse == 0:
    for _ in range(20):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
    time.sleep(60)
meter.begin(horse, folder)
deadline = time.monotonic() + 30
while not (why := meter.overrun()) and time.monotonic() < deadline:
    time.sleep(0.05)
os.kill(horse, signal.SIGKILL)
told = meter.over(os.waitpid(horse, 0)[1])
folder.remove()
print(why, told, len(children(os.getpid())), sep="|")
"""

LOCKED = """
import os
from pathlib import Path
from pools.runtime.sandbox import user
from pools.runtime.sandbox.folder import Folder

user.become(65534, 65534)
folder = Folder("locked", os.getuid(), os.getgid())
inner = Path(folder.temporary, "a", "b")
inner.mkdir(parents=True)
(inner / "file").touch()
(inner / "link").symlink_to("/")
for path in (inner, inner.parent, Path(folder.temporary), Path(folder.path)):
    path.chmod(0)
print(folder.written(1 << 20) == 1 << 20, end="|")
folder.remove()
print(folder.path)
"""


def said(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip().split("|")


def test_a_fork_bomb_is_counted_and_nothing_of_it_is_left() -> None:
    why, told, left = said(BOMB)
    assert why.startswith("ProcessLimitError: it had more than the 8 processes")
    assert (told, left) == ("", "0")


def test_a_folder_that_its_job_locked_counts_as_full_and_goes_all_the_same() -> None:
    full, path = said(LOCKED)
    assert full == "True"
    assert not Path(path).exists()
