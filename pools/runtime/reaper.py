"""What becomes of the jobs that a dead worker held: decided on the broker, in one step, by whoever first knows.

The worker wrote into each job what its pool's signed policy says (``delivery``), so this needs neither the pool's
interpreter nor the job's payload: the agent of the worker does it, or any other agent when the whole host is gone.
"""

import json
import time
import zlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from redis.exceptions import WatchError

from pools.runtime.claims import RELEASE
from pools.runtime.keys import Keys
from pools.runtime.worker_config import Lost

REAP = files("pools.runtime").joinpath("lua", "reap.lua").read_text()

AGAIN = "It was put back into its queue."
UNKNOWN = "Its outcome is unknown: how far it came, nobody can tell."
TOO_OFTEN = "Its outcome is unknown, and it was lost as often as its policy allows: it is not run again."


@dataclass(frozen=True)
class Order:
    """A dead worker. ``failure_ttl`` in seconds; ``seen`` is its last sign of life, None when its death is certain.

    ``counts``: as one of the losses that a policy allows; a job that was stopped and saved its state is not lost.
    """

    lost: Lost
    pool_uid: str
    config: int
    failure_ttl: int
    seen: str | None = None
    counts: bool = True


def _rq_worker(keys: Keys, worker: str) -> str:
    return f"{keys.rq_prefix}:worker:{worker}"


def _rq_executions(keys: Keys, worker: str) -> str:
    return f"{_rq_worker(keys, worker)}:executions"


def sign(connection: Any, keys: Keys, worker: str) -> None:
    """Queue, on a pipeline, the three reads that ``sign_of`` makes a sign of life from."""
    connection.hget(_rq_worker(keys, worker), "last_heartbeat")
    connection.smembers(_rq_executions(keys, worker))
    connection.hget(keys.claims, worker)


def sign_of(heartbeat: bytes | None, executions: set[bytes], claim: bytes | None) -> str:
    """Differs as soon as the worker does anything: beats, takes a job, starts or ends one."""
    return repr((heartbeat, sorted(executions), claim))


def reap(client: Any, keys: Keys, order: Order, signature: Mapping[str, object]) -> dict[str, str] | None:
    """Put a claimed job back, and decide each running one: job id → ``again``, ``unknown`` or ``too_often``.

    None, and nothing is touched, when the worker has shown life since ``order.seen``. May be repeated; what was
    decided stays so. ``signature`` names the agent that decides. Raises redis errors.
    """
    worker = order.lost.worker
    with client.pipeline() as pipeline:
        pipeline.watch(_rq_worker(keys, worker), _rq_executions(keys, worker))
        if order.seen is not None and order.seen != _sign_now(pipeline, keys, worker):
            return None
        pipeline.multi()
        pipeline.eval(RELEASE, 2, keys.claims, keys.holds, worker, f"{keys.rq_prefix}:job:")
        pipeline.eval(REAP, 2, _rq_executions(keys, worker), keys.events, _told(keys, order, signature))
        try:
            return _outcomes(pipeline.execute()[1])
        except WatchError:
            return None


def reap_expired(
    client: Any, keys: Keys, order: Order, execution: bytes, signature: Mapping[str, object]
) -> dict[str, str]:
    """Decide one run whose lease has ended, whatever else its worker does. Raises redis errors."""
    alone = f"{keys.reaper}:{execution.decode(errors='replace')}"
    with client.pipeline() as pipeline:
        pipeline.sadd(alone, execution)
        pipeline.eval(REAP, 2, alone, keys.events, _told(keys, order, signature))
        return _outcomes(pipeline.execute()[1])


def _outcomes(answer: list[bytes]) -> dict[str, str]:
    parts = [part.decode(errors="replace") for part in answer]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _sign_now(pipeline: Any, keys: Keys, worker: str) -> str:
    return sign_of(
        pipeline.hget(_rq_worker(keys, worker), "last_heartbeat"),
        pipeline.smembers(_rq_executions(keys, worker)),
        pipeline.hget(keys.claims, worker),
    )


def _told(keys: Keys, order: Order, signature: Mapping[str, object]) -> str:
    now, why = time.time(), order.lost.why
    event = {"at": now, "worker": order.lost.worker, "pool_uid": order.pool_uid, "config": order.config}
    body = {
        "prefix": keys.rq_prefix,
        "unsettled": keys.unsettled(""),
        "worker": order.lost.worker,
        "now": now,
        "written": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "failure_ttl": order.failure_ttl,
        "counts": order.counts,
        "event": {**signature, **event},
        "once": keys.once(order.pool_uid),
        "again": _encoded(f"{why} {AGAIN}"),
        "unknown": _encoded(f"{why} {UNKNOWN}"),
        "too_often": _encoded(f"{why} {TOO_OFTEN}"),
    }
    return json.dumps(body)


def _encoded(text: str) -> str:
    """As rq stores a result's text."""
    return b64encode(zlib.compress(text.encode())).decode()
