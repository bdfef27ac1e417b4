"""What of the published desired state the broker still has. It may have been flushed, or restored from an old dump."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker


@dataclass(frozen=True)
class Desired:
    """The newest config version and run generation that the broker has for a pool; 0 for none."""

    config: int = 0
    generation: int = 0


def read_desired(broker: Broker, pool_uids: Sequence[str]) -> dict[str, Desired]:
    """Pool uid → what is there, in one round trip. A hint without its envelope counts as nothing.

    Raises BrokerUnavailable.
    """
    keys = broker.keys
    with broker.use() as client:
        pipeline = client.pipeline(transaction=False)
        pipeline.hgetall(keys.desired)
        for uid in pool_uids:
            pipeline.strlen(keys.config(uid))
            pipeline.strlen(keys.run(uid))
        hints, *lengths = pipeline.execute(raise_on_error=False)
    known: dict[bytes, bytes] = hints if isinstance(hints, dict) else {}
    return {
        uid: _desired(known.get(uid.encode()), has_config=bool(fields.count(config)), has_run=bool(fields.count(run)))
        for uid, config, run in zip(pool_uids, lengths[::2], lengths[1::2], strict=True)
    }


def _desired(raw: bytes | None, *, has_config: bool, has_run: bool) -> Desired:
    try:
        hint: Any = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        return Desired()
    if not isinstance(hint, dict):
        return Desired()
    return Desired(
        config=fields.count(hint.get("config")) if has_config else 0,
        generation=fields.count(hint.get("generation")) if has_run else 0,
    )
