"""A control plane in memory, for agents under test: keys, a trust root, and envelopes, honest or otherwise.

simulator = Simulator(env="test")
agent.trust(simulator.root_bytes)
valkey.set(key, simulator.config(uid, {"queues": ["a"], "workers": 1}))      # version 1, then 2, 3 …
valkey.set(key, simulator.config(uid, spec, version=1))                       # a replay
valkey.set(key, simulator.config(uid, spec, env="prod"))                      # any field of the payload
"""

import hashlib
import time
import uuid
from collections import defaultdict
from typing import Any

from pools.signing import CONFIG_TYPE, RUN_TYPE, TrustRoot, sign
from pools.signing.keys import CryptoSigner, new_signer
from pools.signing.strict_json import canonical
from pools.spec import PoolSpec, parse_spec

YEAR = 365 * 86_400


class Simulator:
    """One environment. ``keys`` sign all it makes, ``threshold`` are needed; ``now`` (Unix seconds) stands still."""

    def __init__(self, env: str = "test", *, keys: int = 1, threshold: int = 1, now: int | None = None) -> None:
        self.env = env
        self.now = int(time.time()) if now is None else now
        self.signers: list[CryptoSigner] = [new_signer() for _ in range(keys)]
        self.root = TrustRoot.create(
            env=env,
            expires=self.now + YEAR,
            keys=[signer.public_key for signer in self.signers],
            threshold=threshold,
        )
        self._digests: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self._generations: defaultdict[str, int] = defaultdict(int)

    @property
    def root_bytes(self) -> bytes:
        return self.root.dump()

    def config(
        self, pool_uid: str, spec: PoolSpec | dict[str, Any], version: int | None = None, **overrides: Any
    ) -> bytes:
        """The envelope of a config: the pool's next version unless ``version`` says otherwise."""
        fields = self.config_fields(pool_uid, spec, version, **overrides)
        payload = canonical(fields)
        self._digests[pool_uid][fields["version"]] = hashlib.sha256(payload).hexdigest()
        return self.sign(payload, CONFIG_TYPE)

    def config_fields(
        self, pool_uid: str, spec: PoolSpec | dict[str, Any], version: int | None = None, **overrides: Any
    ) -> dict[str, Any]:
        """The payload's fields before they are written and signed."""
        known = self._digests[pool_uid]
        version = max(known, default=0) + 1 if version is None else version
        body = spec if isinstance(spec, PoolSpec) else parse_spec(spec)
        fields = {
            "_type": "poolwarden.config/1",
            "env": self.env,
            "pool_uid": pool_uid,
            "pool": "pool",
            "version": version,
            "prev_sha256": known.get(version - 1, "" if version == 1 else "0" * 64),
            "not_before": self.now - 60,
            "expires": self.now + YEAR,
            "spec": body.as_dict(),
            "secrets": {name: f"env://{name}" for name in body.secrets},
            "change_id": str(uuid.uuid4()),
        }
        return fields | overrides

    def run(self, pool_uid: str, state: str, generation: int | None = None, **overrides: Any) -> bytes:
        """The envelope of a run state: the pool's next generation unless ``generation`` says otherwise."""
        generation = self._generations[pool_uid] + 1 if generation is None else generation
        self._generations[pool_uid] = generation
        fields = {
            "_type": "poolwarden.run/1",
            "env": self.env,
            "pool_uid": pool_uid,
            "pool": "pool",
            "generation": generation,
            "state": state,
            "issued": self.now,
            "command_id": str(uuid.uuid4()),
        }
        return self.sign(canonical(fields | overrides), RUN_TYPE)

    def sign(self, payload: bytes, payload_type: str) -> bytes:
        """An envelope over any bytes, signed by every key."""
        return sign(payload, payload_type, self.signers)
