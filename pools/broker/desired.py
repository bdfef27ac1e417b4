"""What the broker holds of the published desired state. It may be lost, from an old dump, or forged."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.scripts import script
from pools.signing.envelope import MAX_BYTES

FOREIGN = b"?"
"""Stands for a value that is no envelope at all."""


@dataclass(frozen=True)
class Desired:
    """What agents of one pool are told: the newest config and run state, by number and envelope; 0 and b"" for none."""

    pool: str = ""
    config: int = 0
    generation: int = 0
    config_envelope: bytes = b""
    run_envelope: bytes = b""

    @property
    def hint(self) -> bytes:
        """The unsigned hint, as agents read it; b"" when there is nothing to tell."""
        if not self.config and not self.generation:
            return b""
        return json.dumps({"pool": self.pool, "config": self.config, "generation": self.generation}).encode()


@dataclass(frozen=True)
class Held:
    """The desired state that a broker holds, and the hint exactly as it lies there (b"" for none)."""

    desired: Desired
    hint: bytes


def read_desired(broker: Broker, pool_uids: Sequence[str]) -> dict[str, Held]:
    """Pool uid → what is there, in one round trip. Envelopes are cut where no agent would read on.

    Raises BrokerUnavailable.
    """
    keys = broker.keys
    with broker.use() as client:
        pipeline = client.pipeline(transaction=False)
        pipeline.hgetall(keys.desired)
        for uid in pool_uids:
            pipeline.getrange(keys.config(uid), 0, MAX_BYTES)
            pipeline.getrange(keys.run(uid), 0, MAX_BYTES)
        hints, *envelopes = pipeline.execute(raise_on_error=False)
    known: dict[bytes, bytes] = hints if isinstance(hints, dict) else {}
    return {
        uid: _held(known.get(uid.encode(), b""), config, run)
        for uid, config, run in zip(pool_uids, envelopes[::2], envelopes[1::2], strict=True)
    }


def mend_desired(broker: Broker, pool_uid: str, held: Held, desired: Desired) -> bool:
    """Put exactly ``desired`` in the place of what ``held`` was read from. False when somebody published meanwhile.

    Raises BrokerUnavailable.
    """
    keys = broker.keys
    with broker.use() as client:
        mended = script(client, "mend")(
            keys=[keys.config(pool_uid), keys.run(pool_uid), keys.desired],
            args=[pool_uid, held.hint, desired.hint, desired.config_envelope, desired.run_envelope],
        )
    return bool(mended)


def _held(hint: bytes, config: Any, run: Any) -> Held:
    said = _parse(hint)
    return Held(
        hint=hint,
        desired=Desired(
            pool=fields.text(said.get("pool")),
            config=fields.count(said.get("config")),
            generation=fields.count(said.get("generation")),
            config_envelope=config if isinstance(config, bytes) else FOREIGN,
            run_envelope=run if isinstance(run, bytes) else FOREIGN,
        ),
    )


def _parse(hint: bytes) -> dict[str, Any]:
    try:
        said: Any = json.loads(hint or b"{}")
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
