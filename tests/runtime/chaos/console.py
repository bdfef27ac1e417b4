"""The control plane, as in production: a controller and a console worker, and somebody who gives orders."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.installation import ROOT, clean_environ
from tests.support.waiting import wait_for

MANAGE = (sys.executable, "manage.py")


class Console:
    """Processes over one SQLite file in ``folder``; they speak to the broker at ``url``."""

    def __init__(self, folder: Path, url: str) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.faults: list[str] = []
        self._log = (folder / "console.log").open("ab")
        more = {"POOLWARDEN_REDIS_URL": url, "POOLWARDEN_ENV": "test", "POOLWARDEN_LOG_LEVEL": "INFO"}
        self._environ = clean_environ(self.home, **more, DJANGO_SETTINGS_MODULE="controlplane.settings")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def trust_root(self) -> Path:
        return self.home / "trust-root.json"

    def start(self) -> None:
        subprocess.run([*MANAGE, "migrate", "-v", "0"], cwd=ROOT, env=self._environ, stdout=self._log, check=True)
        command = [sys.executable, "-m", "tests.runtime.chaos.hand"]
        pipe = subprocess.PIPE
        self._running["hand"] = subprocess.Popen(command, cwd=ROOT, env=self._environ, stdin=pipe, stdout=pipe)
        self.start_controller()
        self._start("console worker", "rqworker", "console", "--worker-ttl", "30")
        wait_for(self.trust_root.exists, timeout=60, message="the controller has keys")

    def order(self, do: str, slug: str, **told: Any) -> str:
        """Have an operation done; empty when it was refused, as there was nothing to do."""
        hand = self._running["hand"]
        assert hand.stdin is not None and hand.stdout is not None
        hand.stdin.write(json.dumps({"do": do, "slug": slug} | told).encode() + b"\n")
        hand.stdin.flush()
        return str(json.loads(hand.stdout.readline()).get("done", ""))

    def start_controller(self) -> None:
        self._start("controller", "controller")

    def kill_controller(self) -> None:
        process = self._running.pop("controller")
        process.kill()
        process.wait(timeout=20)

    def tend(self) -> None:
        """A console worker may end with its broker; a controller goes on whatever happens."""
        worker = self._running.get("console worker")
        if worker is not None and worker.poll() is not None:
            self._start("console worker", "rqworker", "console", "--worker-ttl", "30")
        controller = self._running.get("controller")
        if controller is not None and (code := controller.poll()) is not None:
            self.faults.append(f"the controller ended by itself: {code}")
            self.start_controller()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        file = sqlite3.connect(self.home / "poolwarden.sqlite3", timeout=30)
        try:
            return file.execute(sql).fetchall()
        finally:
            file.close()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait(timeout=20)
        self._log.close()

    def _start(self, name: str, *command: str) -> None:
        log = self._log
        self._running[name] = subprocess.Popen([*MANAGE, *command], cwd=ROOT, env=self._environ, stdout=log, stderr=log)
