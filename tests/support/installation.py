"""A whole installation for acceptance tests: ``manage.py up --demo`` as a user would run it, in a home of its own."""

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.support.valkey import free_port
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


# The browser and the tests need the machine as well: a job or two a second instead of as many as the workers can take.
GENTLE = {"POOLWARDEN_DEMO_WAITING": "2"}


def clean_environ(home: Path, **more: str) -> dict[str, str]:
    """The environment of a person who set nothing but the home folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("POOLWARDEN_", "DJANGO_", "PYTEST_", "RQ_"))}
    return kept | {"POOLWARDEN_HOME": str(home)} | GENTLE | more


def own_database() -> dict[str, str]:
    """On a run with PostgreSQL, a database for this installation alone; nothing on a run with SQLite."""
    url = os.environ.get("POOLWARDEN_DATABASE_URL")
    if not url:
        return {}
    name = f"up_{uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return {"POOLWARDEN_DATABASE_URL": url.rsplit("/", 1)[0] + "/" + name}


@dataclass
class Installation:
    """``start`` returns when ``ready:`` was printed. ``lines`` holds what ``up`` said so far."""

    home: Path
    port: int = field(default_factory=free_port)
    arguments: tuple[str, ...] = ("--demo",)
    extra: dict[str, str] = field(default_factory=dict)
    root: Path = ROOT
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, timeout: float = 150) -> None:
        command = [sys.executable, "manage.py", "up", *self.arguments, "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            cwd=self.root,
            env=clean_environ(self.home, **self.extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        wait_for(self._ready_or_dead, timeout=timeout, message=f"up prints ready; it said {self.lines}")
        assert self.said("ready: "), self.report()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line.rstrip())

    def _ready_or_dead(self) -> bool:
        assert self.process is not None
        return self.said("ready: ") or self.process.poll() is not None

    def said(self, start: str) -> bool:
        return any(line.startswith(start) for line in self.lines)

    def report(self) -> str:
        logs = [f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in self.home.glob("logs/*.log")]
        return "\n".join([*self.lines, *logs])

    def stop(self, number: int = signal.SIGTERM, *, timeout: float = 15) -> int:
        """Send one signal and wait for the end. Returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=timeout)
        self.process = None
        return code

    def descendants(self) -> dict[int, str]:
        """Pid → command line of every process below ``up``."""
        assert self.process is not None
        return descendants(self.process.pid)

    def child(self, words: str) -> int:
        """The pid of the one descendant whose command line holds ``words``; waits for it to appear."""

        def find() -> int:
            found = sorted(pid for pid, command in self.descendants().items() if words in command)
            return found[0] if found else 0

        return wait_for(find, timeout=30, message=f"a process with {words!r}")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def python(self, program: str) -> str:
        """Run ``program`` with Django set up on this installation's database; its standard output."""
        environ = clean_environ(self.home, POOLWARDEN_ENV="demo", **self.extra)
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", program]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def descendants(parent: int) -> dict[int, str]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found: dict[int, str] = {}
    rest = [parent]
    while rest:
        current = rest.pop()
        for pid in [pid for pid, above in parents.items() if above == current]:
            rest.append(pid)
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
    return found
