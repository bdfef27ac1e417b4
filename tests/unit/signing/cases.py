"""The pool, spec and agent that the attacks are tried on."""

from typing import Any

from pools.signing import CONFIG_TYPE, Trusted, VerifiedConfig, verify_config
from pools.spec import PoolSpec, parse_spec
from tests.support.simulator import Simulator

POOL = "0b7e4a52-7f9d-4b53-9d57-1f3f0f3f6a11"
OTHER_POOL = "96b4a5b6-13a5-4f80-8c0c-0c9a6f1c2d22"
SPEC = {"queues": ["mail"], "workers": 2}


def verify(simulator: Simulator, raw: bytes, last: Trusted | None = None, **changes: Any) -> VerifiedConfig[PoolSpec]:
    """Verify as the agent of ``POOL`` would, at the simulator's time."""
    arguments: dict[str, Any] = {"root": simulator.root, "env": simulator.env, "pool_uid": POOL, "now": simulator.now}
    return verify_config(raw, last=last, parse_spec=parse_spec, **arguments | changes)


def signed(simulator: Simulator, payload: bytes) -> bytes:
    """An envelope over any bytes, as a config."""
    return simulator.sign(payload, CONFIG_TYPE)
