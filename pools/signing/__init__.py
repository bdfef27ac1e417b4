"""DSSE envelopes, trust root, rules of verification. No Django, no I/O; what a spec means is not known here."""

from pools.signing.envelope import sign
from pools.signing.errors import SigningError
from pools.signing.payloads import CONFIG_TYPE, RUN_TYPE, ConfigPayload, RunPayload, config_payload, run_payload
from pools.signing.trust_root import TrustRoot
from pools.signing.verification import Trusted, VerifiedConfig, VerifiedRun, verify_config, verify_run

__all__ = [
    "CONFIG_TYPE",
    "RUN_TYPE",
    "ConfigPayload",
    "RunPayload",
    "SigningError",
    "TrustRoot",
    "Trusted",
    "VerifiedConfig",
    "VerifiedRun",
    "config_payload",
    "run_payload",
    "sign",
    "verify_config",
    "verify_run",
]
