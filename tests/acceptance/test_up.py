"""One command starts everything, says what is wrong with bad input, and ends without a trace."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installation import ROOT, Installation, clean_environ, own_database
from tests.support.valkey import free_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.acceptance


def up(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "up", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=clean_environ(home, **extra), capture_output=True, text=True, timeout=150
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """One line names what to mend; there is no traceback."""
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_it_starts_says_so_and_ends_with_its_children(tmp_path: Path) -> None:
    """Twice in one home, ended by either signal: the second start keeps everything."""
    home, checkout, temporary = tmp_path / "home", tmp_path / "checkout", tmp_path / "temporary"
    for folder in ("controlplane", "pools", "audit", "templates", "static", "deploy"):
        shutil.copytree(ROOT / folder, checkout / folder)
    shutil.copy(ROOT / "manage.py", checkout)
    temporary.mkdir()
    extra = own_database() | {"TMPDIR": str(temporary)}
    before, kept = files(checkout), []
    for number in (signal.SIGTERM, signal.SIGINT):
        installation = Installation(home, root=checkout, extra=extra)
        installation.start()
        try:
            assert f"ready: http://127.0.0.1:{installation.port}/" in installation.lines
            wait_for(lambda i=installation: any("oncall" in line for line in i.lines), message="the table of accounts")
            installation.child("pools/runtime/launch.py")
            family = installation.descendants()
            assert len(family) >= 8, family
            refused(up(home, "--demo", "--port", str(free_port())), "POOLWARDEN_HOME", "another")
        finally:
            assert installation.stop(number, timeout=30) == 0
        assert {pid: command for pid, command in family.items() if still_runs(pid)} == {}
        assert files(checkout) == before
        assert files(temporary) == set()
        kept.append(((home / "secret-key").read_bytes(), (home / "trust-root.json").read_bytes()))
    assert kept[0] == kept[1]


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def still_runs(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() != b""


def test_demo_accounts_never_meet_the_network(tmp_path: Path) -> None:
    refused(up(tmp_path, "--demo", "--host", "0.0.0.0"), "--host", "0.0.0.0")
    assert not (tmp_path / "poolwarden.sqlite3").exists()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(up(tmp_path, "--demo", "--port", str(port)), "--port", str(port), "Address already in use")


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_that_is_none_is_named(tmp_path: Path, port: str) -> None:
    refused(up(tmp_path, "--demo", f"--port={port}"), "--port", port)


def test_a_privileged_port_is_explained(tmp_path: Path) -> None:
    """Also for root: without the capability, as in a container."""
    drop = [shutil.which("setpriv") or "setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    command = [*(drop if os.getuid() == 0 else []), sys.executable, "manage.py", "up", "--demo", "--port", "80"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environ(tmp_path), capture_output=True, text=True, timeout=150)
    refused(done, "--port", "80 needs root rights")


def test_an_unreadable_database_is_named(tmp_path: Path) -> None:
    url = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    done = up(tmp_path, "--demo", "--port", str(free_port()), POOLWARDEN_DATABASE_URL=url)
    refused(done, "POOLWARDEN_DATABASE_URL", "cannot use the database")
    assert "hunter2" not in done.stdout + done.stderr
