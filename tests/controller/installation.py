"""Real ``manage.py controller`` processes over one database, one home and one Valkey."""

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Installation:
    home: Path
    valkey: ValkeyServer
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def open(self) -> None:
        """Take over the test's database: a file that processes share. (PostgreSQL is shared as it is.)"""
        self.home.mkdir(parents=True)
        if connection.vendor == "sqlite":
            connection.ensure_connection()
            with sqlite3.connect(self._file) as file:
                connection.connection.backup(file)
            file.close()

    @property
    def _file(self) -> Path:
        return self.home / "poolwarden.sqlite3"

    @property
    def environment(self) -> dict[str, str]:
        found = {
            "POOLWARDEN_HOME": str(self.home),
            "POOLWARDEN_REDIS_URL": self.valkey.url,
            "POOLWARDEN_ENV": settings.POOLWARDEN_ENV,
            "POOLWARDEN_LOG_LEVEL": "INFO",
        }
        if connection.vendor == "sqlite":
            return os.environ | found | {"POOLWARDEN_DATABASE_URL": f"sqlite:///{self._file}"}
        name, url = connection.settings_dict, "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}"
        return os.environ | found | {"POOLWARDEN_DATABASE_URL": url.format(**name).replace(":@", "@")}

    def controller(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        """Start a controller; its output is a pipe."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", "controller", *options],
            cwd=ROOT,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def leading(self) -> str:
        """The holder of a lease that has not ended; empty when nobody leads."""
        now = "strftime('%Y-%m-%d %H:%M:%f', 'now')" if connection.vendor == "sqlite" else "now()"
        rows = self.query(f"SELECT holder FROM pools_controllerlease WHERE expires_at > {now}")
        return str(rows[0][0]) if rows else ""

    def wait_for_leader(self, process: subprocess.Popen[str], timeout: float = 15) -> str:
        pid = f":{process.pid}:"
        return wait_for(lambda: pid in (leader := self.leading()) and leader, timeout=timeout, message="it leads") or ""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows as the processes see them."""
        if connection.vendor == "sqlite":
            with sqlite3.connect(self._file, timeout=30) as file:
                rows = file.execute(sql).fetchall()
            file.close()
            return rows
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def end(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=20)
