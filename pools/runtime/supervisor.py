"""The workers of one host: start them, find them again, watch them end. What should run is decided elsewhere."""

import contextlib
import logging
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pools.runtime import recipe
from pools.runtime.channel import Channel, Control
from pools.runtime.handle import Ended, Handle
from pools.runtime.options import Options
from pools.runtime.processes import ProcessId
from pools.runtime.sandbox import folder
from pools.runtime.worker_config import WorkerConfig
from pools.signing import VerifiedConfig
from pools.spec import PoolSpec

log = logging.getLogger("poolwarden.agent")

# What a shell answers for a command that cannot be run.
CANNOT_RUN = 127
MAX_OUTPUT = 8 * 1024 * 1024
TAIL_BYTES = 2000


class StartError(Exception):
    """The process could not be made: no such interpreter or folder, no permission, no memory."""


@dataclass(frozen=True)
class Exit:
    handle: Handle
    ended: Ended


class Supervisor:
    """Every worker's directory lives under ``state/workers``; a directory without a live process is a dead worker."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._root = options.state / "workers"
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.handles: dict[str, Handle] = {}

    def of_pool(self, pool_uid: str) -> list[Handle]:
        """Oldest first."""
        return [handle for handle in self.handles.values() if handle.pool_uid == pool_uid]

    def adopt(self) -> None:
        """Find the workers of an earlier agent. Dead ones show up in ``reap``, as if they had just died."""
        found = [(directory, Handle.adopt(directory)) for directory in self._root.iterdir()]
        for directory, handle in found:
            if handle is None:
                # Its agent died before it had told it anything; without its folder such a worker stops by itself.
                shutil.rmtree(directory, ignore_errors=True)
        for handle in sorted((handle for _, handle in found if handle), key=lambda handle: handle.started_at):
            self.handles[handle.name] = handle
            log.info("Found worker %s of an earlier agent, %s", handle.name, handle.state)

    def start(self, config: VerifiedConfig[PoolSpec], control: Control, *, restarts: int) -> None:
        """Start one worker under ``control``. Raises StartError, with the handle's directory gone."""
        name = self._new_name(config.payload.pool)
        channel = Channel(self._root / name)
        handle = Handle(
            name=name,
            pool_uid=config.payload.pool_uid,
            config=config.version,
            build=recipe.build(config),
            started_at=time.time(),
            restarts=restarts,
            grace=config.spec.stop_grace,
            channel=channel,
        )
        try:
            channel.directory.mkdir(mode=0o700)
            handle.save()
            channel.order(control)
            told = recipe.worker(self._options, config, name, channel.directory)
            handle.child = spawn(config.spec, told, channel.output)
        except OSError as error:
            shutil.rmtree(channel.directory, ignore_errors=True)
            raise StartError(f"{name} cannot be started: {error}") from None
        handle.process = ProcessId.of(handle.child.pid)
        self.handles[name] = handle

    def reap(self) -> Iterator[Exit]:
        """Every worker that has ended since the last call. Its directory stays until ``forget``."""
        for handle in list(self.handles.values()):
            ended = handle.ended()
            if ended is not None:
                handle.kill_horse()
                del self.handles[handle.name]
                yield Exit(handle, ended)

    def kill_overdue(self, now: float) -> None:
        for handle in self.handles.values():
            if not handle.overdue(now):
                continue
            if handle.asks_to_save():
                log.info("Worker %s did not stop in time: its job is asked to save its state", handle.name)
            else:
                log.warning("Worker %s did not stop in time: killed", handle.name)
                handle.kill()

    def notice_ready(self) -> Iterator[Handle]:
        """Workers that have loaded their application since the last call."""
        for handle in self.handles.values():
            if not handle.loaded and handle.notice_ready(handle.channel.status()):
                yield handle

    def bound_output(self) -> None:
        """Cut output files that grew too long; their writers append, so nothing else changes for them."""
        for handle in self.handles.values():
            with contextlib.suppress(OSError):
                if handle.channel.output.stat().st_size > MAX_OUTPUT:
                    os.truncate(handle.channel.output, 0)

    def _new_name(self, pool: str) -> str:
        """Unique for ever, as rq's worker names must be; starts with the pool's, for ACL patterns."""
        return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', pool)[:64]}-{self._options.name}-{uuid.uuid4().hex[:8]}"


def forget(handle: Handle) -> None:
    """Remove what a dead worker left on disk."""
    shutil.rmtree(handle.channel.directory, ignore_errors=True)
    folder.sweep(handle.name)


def tail(path: Path) -> str:
    """The end of an output file, for people."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def spawn(spec: PoolSpec, told: WorkerConfig, output: Path) -> subprocess.Popen[bytes]:
    """Run the launcher in the application's interpreter. Raises OSError."""
    with output.open("ab") as log_file:
        child = subprocess.Popen(
            recipe.command(spec),
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=log_file,
            cwd=spec.application.directory or None,
            env=recipe.environment(spec, os.environ),
            start_new_session=True,
        )
    assert child.stdin is not None
    # A child that died before it read: its exit says so.
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(told.dumps().encode())
    return child
