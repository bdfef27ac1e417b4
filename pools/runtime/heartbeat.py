"""What an agent says of itself each second: the console's picture of a host is this and nothing else."""

import json
import os
import platform
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pools import __version__
from pools.runtime.handle import Handle
from pools.runtime.intake import Pool
from pools.runtime.options import Options
from pools.runtime.reconciler import WorkerState
from pools.runtime.respawn import Respawn


class Heartbeat:
    """``boot`` is new at each start of the agent, ``seq`` counts from there: a reader sees restarts and gaps."""

    def __init__(self, options: Options) -> None:
        self._sequence = 0
        self._constant = {
            "v": 1,
            "agent": options.name,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "boot": str(uuid.uuid4()),
            "version": __version__,
            "python": platform.python_version(),
            "rq": version("rq"),
            "labels": options.labels,
            "root": options.root.sha256,
        }

    def text(self, pools: list[dict[str, Any]], workers: list[dict[str, Any]]) -> str:
        self._sequence += 1
        body = {"seq": self._sequence, "at": time.time(), "pools": pools, "workers": workers}
        return json.dumps(self._constant | body, separators=(",", ":"))


def describe_pool(pool: Pool, handles: Sequence[Handle], respawn: Respawn) -> dict[str, Any]:
    """``running`` is the oldest version that a worker of the pool still stands for: what is surely in force.

    ``isolation`` is what the oldest worker that has loaded attests, None without isolation.
    """
    return {
        "pool_uid": pool.uid,
        "pool": pool.name,
        "told": pool.told,
        "verified": pool.config.version if pool.config else None,
        "running": min((handle.config for handle in handles), default=None),
        "generation": pool.run.generation if pool.run else 0,
        "run_state": pool.state,
        "refused": asdict(pool.refused) if pool.refused else None,
        "boot_failure": asdict(respawn.failure) if respawn.failure else None,
        "isolation": next((handle.channel.attested() for handle in handles if handle.loaded), None),
    }


def describe_worker(handle: Handle) -> dict[str, Any]:
    return {
        "name": handle.name,
        "pool_uid": handle.pool_uid,
        "pid": handle.process.pid if handle.process else 0,
        "config": handle.config,
        "state": handle.state.value,
        "started_at": handle.started_at,
        "restarts": handle.restarts,
    }


def describe_backoff(pool: Pool, respawn: Respawn) -> dict[str, Any]:
    """Stands in the list for the workers that a backoff keeps from starting; it has no process."""
    return {
        "name": respawn.last,
        "pool_uid": pool.uid,
        "pid": 0,
        "config": pool.config.version if pool.config else 0,
        "state": WorkerState.BACKOFF.value,
        "started_at": 0,
        "restarts": respawn.restarts,
    }
