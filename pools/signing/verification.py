"""The rules by which an agent accepts what it finds on the broker. Bytes in, typed objects out; no I/O, no clock.

The broker is not trusted: whoever can write to it can replace, reorder, replay or withhold envelopes. What is
accepted is decided here, in this order (DESIGN.md, "Agent verification"); the numbers recur in the code.

 1. The envelope is at most 256 KiB.
 2. It has exactly DSSE's fields, in strict base64.
 3. Its payloadType is the one asked for.
 4. The trust root is current, and at least its threshold of distinct public keys signed these very bytes.
 5. The payload is JSON without repeated keys, NaN or floats.
 6. Written again canonically (RFC 8785, NFC) it gives the same bytes, and it has the fields of its type.
 7. Environment and pool are this agent's.
 8. The version is greater than the last trusted one. The same version with the same digest is "no change".
 9. prev_sha256 chains it to the last trusted version. A jump over versions is accepted: the agent may have been away.
10. Now is not before not_before, and before expires.
11. The spec is one this agent understands, and the host allows it.

A run state goes through 1-7; its generation stands for the version (8), and a lower one is refused.

Nothing is stored here. The caller persists what was accepted, and on SigningError keeps the last good config.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError

from pools.signing import envelope as dsse
from pools.signing import strict_json
from pools.signing.errors import (
    BadJsonError,
    BadPayloadError,
    BrokenChainError,
    ExpiredError,
    NotAllowedError,
    NotCanonicalError,
    NotYetValidError,
    ThresholdNotMetError,
    VersionRollbackError,
    WrongEnvironmentError,
    WrongPayloadTypeError,
    WrongPoolError,
)
from pools.signing.keys import Signature
from pools.signing.payloads import CONFIG_TYPE, RUN_TYPE, ConfigPayload, RunPayload
from pools.signing.trust_root import Role, TrustRoot


@dataclass(frozen=True)
class Trusted:
    """What the agent persisted of the last config it accepted: version, and hex SHA-256 of the payload bytes."""

    version: int
    sha256: str


@dataclass(frozen=True)
class VerifiedConfig[Spec]:
    """A config that passed every rule. ``raw`` is the envelope as received, ``sha256`` that of the payload's bytes."""

    payload: ConfigPayload
    spec: Spec
    version: int
    sha256: str
    raw: bytes

    @property
    def trusted(self) -> Trusted:
        return Trusted(self.version, self.sha256)


@dataclass(frozen=True)
class VerifiedRun:
    """A run state that passed every rule. ``raw`` is the envelope as received."""

    payload: RunPayload
    state: str
    generation: int
    raw: bytes


def verify_config[Spec](
    raw: bytes,
    *,
    root: TrustRoot,
    env: str,
    pool_uid: str,
    last: Trusted | None,
    now: int,
    parse_spec: Callable[[dict[str, Any]], Spec],
    allowed: Callable[[ConfigPayload, Spec], str | None] | None = None,
) -> VerifiedConfig[Spec]:
    """Accept a config by rules 1-11 above, or raise the SigningError of the first rule that it breaks.

    ``last`` is the last trusted version, None on a host that has none; ``now`` is in Unix seconds. ``parse_spec`` turns
    the payload's spec into an object and raises ValueError when it cannot. ``allowed`` returns why this host refuses
    the config, or None.
    """
    payload_bytes, body = _open(raw, CONFIG_TYPE, root, now)  # 1-6
    payload = ConfigPayload.read(body)  # 6
    _check_place(payload.env, payload.pool_uid, root=root, env=env, pool_uid=pool_uid)  # 7
    sha256 = hashlib.sha256(payload_bytes).hexdigest()
    _check_version(payload.version, sha256, last)  # 8
    _check_chain(payload, last)  # 9
    _check_time(payload, now)  # 10
    spec = _parse(payload, parse_spec)  # 11
    reason = allowed(payload, spec) if allowed else None
    if reason is not None:
        raise NotAllowedError(f"This host does not allow version {payload.version}: {reason}.")
    return VerifiedConfig(payload, spec, payload.version, sha256, raw)


def verify_run(
    raw: bytes, *, root: TrustRoot, env: str, pool_uid: str, last_generation: int | None, now: int
) -> VerifiedRun:
    """Accept a run state by rules 1-8 above, or raise the SigningError of the first rule that it breaks."""
    _, body = _open(raw, RUN_TYPE, root, now)  # 1-6
    payload = RunPayload.read(body)  # 6
    _check_place(payload.env, payload.pool_uid, root=root, env=env, pool_uid=pool_uid)  # 7
    if last_generation is not None and payload.generation < last_generation:  # 8
        raise VersionRollbackError(f"The run state's generation is {payload.generation}, after {last_generation}.")
    return VerifiedRun(payload, payload.state, payload.generation, raw)


def _open(raw: bytes, payload_type: str, root: TrustRoot, now: int) -> tuple[bytes, Any]:
    """Rules 1 to 6: the signed bytes, and what they say."""
    envelope = dsse.parse(raw)  # 1, 2
    if envelope.payload_type != payload_type:  # 3
        raise WrongPayloadTypeError(
            f"The envelope's payloadType is {envelope.payload_type[:80]!r}, not {payload_type}."
        )
    root.check_current(now)  # 4
    _check_threshold(envelope, root.roles["config"])
    try:
        body = strict_json.parse(envelope.payload)  # 5
    except ValueError as error:
        raise BadJsonError(f"The signed payload is not JSON that can be trusted: {error}.") from None
    try:
        same = strict_json.canonical(body) == envelope.payload  # 6
    except ValueError as error:
        raise NotCanonicalError(f"The signed payload has no canonical form: {error}.") from None
    if not same:
        raise NotCanonicalError("The signed payload is not in its canonical form.")
    return envelope.payload, body


def _check_threshold(envelope: dsse.Envelope, role: Role) -> None:
    """Count public keys, not key ids or signatures: neither an alias nor a repetition may count twice."""
    message = dsse.pae(envelope.payload, envelope.payload_type)
    agreed: set[str] = set()
    for signature in envelope.signatures:
        key = role.keys.get(signature.keyid)
        if key is None:
            continue
        try:
            key.verify_signature(Signature(signature.keyid, signature.value.hex()), message)
        except UnverifiedSignatureError:
            continue
        agreed.add(key.keyval["public"])
    if len(agreed) < role.threshold:
        raise ThresholdNotMetError(f"{len(agreed)} trusted keys signed this envelope; {role.threshold} must.")


def _check_place(signed_env: str, signed_pool: str, *, root: TrustRoot, env: str, pool_uid: str) -> None:
    if signed_env != env or root.env != env:
        raise WrongEnvironmentError(
            f"The signed field env is {signed_env}, the trust root's {root.env}, and this agent serves {env}."
        )
    if signed_pool != pool_uid:
        raise WrongPoolError(f"The signed field pool_uid is {signed_pool}, not {pool_uid}.")


def _check_version(version: int, sha256: str, last: Trusted | None) -> None:
    if last is None or version > last.version:
        return
    if version < last.version:
        raise VersionRollbackError(f"The signed field version is {version}; {last.version} is trusted already.")
    if sha256 != last.sha256:
        raise VersionRollbackError(f"Version {version} is trusted already, with other contents.")


def _check_chain(payload: ConfigPayload, last: Trusted | None) -> None:
    if (payload.version == 1) != (payload.prev_sha256 == ""):
        raise BrokenChainError("The signed field prev_sha256 must be empty for version 1, and for no other.")
    if last is not None and payload.version == last.version + 1 and payload.prev_sha256 != last.sha256:
        raise BrokenChainError(f"The signed field prev_sha256 does not name the trusted version {last.version}.")


def _check_time(payload: ConfigPayload, now: int) -> None:
    if now < payload.not_before:
        raise NotYetValidError(
            f"Version {payload.version} is valid in {payload.not_before - now} s (field not_before)."
        )
    if now >= payload.expires:
        raise ExpiredError(f"Version {payload.version} expired {now - payload.expires} s ago (field expires).")


def _parse[Spec](payload: ConfigPayload, parse_spec: Callable[[dict[str, Any]], Spec]) -> Spec:
    try:
        return parse_spec(payload.spec)
    except ValueError as error:
        raise BadPayloadError(f"The signed spec is one that this agent does not understand: {error}.") from None
