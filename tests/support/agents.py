"""A real agent process over a real Valkey, and a controller's part played by hand."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pools.runtime.channel import Channel
from pools.runtime.keys import Keys
from pools.runtime.processes import ProcessId
from pools.runtime.sandbox import folder
from tests.support.simulator import Simulator
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class AgentHost:
    """One worker host. ``start`` may be called again after ``kill``: the state folder stays."""

    directory: Path
    valkey: ValkeyServer
    name: str = "host-1"
    options: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    trust_root: Path | None = None  # a real controller's; else the simulator's
    simulator: Simulator = field(default_factory=Simulator)
    process: subprocess.Popen[bytes] | None = None
    keys: Keys = field(default_factory=Keys)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def output(self) -> Path:
        return self.directory / "agent.log"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        root = self.directory / "root.json"
        root.write_bytes(self.trust_root.read_bytes() if self.trust_root else self.simulator.root_bytes)
        command = [sys.executable, "-m", "pools.runtime.agent", "--trust-root", str(root), "--state", str(self.state)]
        command += ["--name", self.name, *self.options]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=output,
                env=os.environ | {"POOLWARDEN_REDIS_URL": self.valkey.url} | self.environment,
            )

    def stop(self, timeout: float = 20) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=timeout)
        self.process = None
        return code

    def kill(self) -> None:
        """The agent alone; its workers go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=20)
        self.process = None

    def close(self) -> None:
        """End everything that was started here, whatever state a test left it in."""
        if self.process is not None:
            self.kill()
        for status in [channel.status() for channel in self.channels()]:
            for process in (status.process, status.horse) if status else ():
                if process is not None:
                    process.kill_group()
        for channel in self.channels():
            folder.sweep(channel.directory.name)
        # A worker that was just being started finds its folder gone, and stops before it takes a job.
        shutil.rmtree(self.state / "workers", ignore_errors=True)

    # The controller's part.

    def publish(self, uid: str, envelope: bytes, *, version: int, pool: str = "pool") -> None:
        self.valkey.client.set(self.keys.config(uid), envelope)
        self._hint(uid, pool, config=version)

    def configure(self, uid: str, spec: dict[str, Any], **overrides: Any) -> int:
        """Sign and publish the pool's next version; returns its number."""
        fields = self.simulator.config_fields(uid, spec)
        version = int(fields["version"])
        self.publish(uid, self.simulator.config(uid, spec, **overrides), version=version)
        return version

    def command(self, uid: str, state: str, **overrides: Any) -> None:
        """Sign and publish a run state."""
        self.valkey.client.set(self.keys.run(uid), self.simulator.run(uid, state, **overrides))
        self._hint(uid, "pool", generation=self._hints(uid).get("generation", 0) + 1)

    def _hints(self, uid: str) -> dict[str, Any]:
        raw = self.valkey.client.hget(self.keys.desired, uid)
        return json.loads(raw) if raw else {}

    def _hint(self, uid: str, pool: str, **changes: int) -> None:
        hint = {"pool": pool, "config": 1, "generation": 0} | self._hints(uid) | changes
        self.valkey.client.hset(self.keys.desired, uid, json.dumps(hint))

    # What the console would see.

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def heartbeat(self) -> dict[str, Any]:
        raw = self.valkey.client.hget(self.keys.agents, self.name)
        return json.loads(raw) if raw else {}

    def pool(self, uid: str) -> dict[str, Any]:
        return next((pool for pool in self.heartbeat().get("pools", []) if pool["pool_uid"] == uid), {})

    def workers(self, uid: str, state: str = "running") -> list[dict[str, Any]]:
        workers = self.heartbeat().get("workers", [])
        return [worker for worker in workers if worker["pool_uid"] == uid and worker["state"] == state]

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        entries = self.valkey.client.xrange(self.keys.events)
        return [json.loads(fields[b"body"]) for _, fields in entries if kind in ("", fields[b"type"].decode())]

    def wait_for_workers(
        self, uid: str, count: int, *, config: int | None = None, others: int = 0, timeout: float = 20
    ) -> list[Any]:
        """Exactly ``count`` running workers, all of version ``config`` if given, and ``others`` on the host."""

        def settled() -> bool:
            running = self.workers(uid)
            rest = [worker for worker in self.heartbeat().get("workers", []) if worker not in running]
            right = all(config in (None, worker["config"]) for worker in running)
            return len(running) == count and right and len(rest) == others and bool(self.heartbeat())

        wait_for(settled, timeout=timeout, message=f"{count} workers; agent says:\n{self.log()}")
        return self.workers(uid)

    def channels(self) -> list[Channel]:
        """Of each worker that has a folder, alive or not."""
        return [Channel(record.parent) for record in sorted(self.state.glob("workers/*/record.json"))]

    def log(self) -> str:
        return self.output.read_text() if self.output.exists() else ""


def new_uid() -> str:
    return str(uuid.uuid4())


def signal_worker(worker: dict[str, Any], number: signal.Signals) -> None:
    """Signal one worker of a heartbeat, if it still lives."""
    process = ProcessId.of(worker["pid"])
    if process is not None:
        process.signal(number)
