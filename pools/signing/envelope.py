"""DSSE envelopes (secure-systems-lab/dsse, protocol v1): exact payload bytes, their type, and signatures over both."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rfc8785
from securesystemslib import dsse

from pools.signing import strict_json
from pools.signing.errors import BadBase64Error, BadEnvelopeError, EnvelopeTooLargeError
from pools.signing.keys import Signer, key_id

MAX_BYTES = 256 * 1024
MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Signature:
    """One signature, not yet verified. ``keyid`` is only a claim."""

    keyid: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """An envelope as read. Nothing in it is trusted until ``pools.signing.verification`` has said so."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]


def pae(payload: bytes, payload_type: str) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    return dsse.Envelope(payload, payload_type, {}).pae()


def sign(payload: bytes, payload_type: str, signers: Sequence[Signer]) -> bytes:
    """Sign ``payload`` with each signer and return the envelope's JSON bytes. Raises EnvelopeTooLargeError."""
    message = pae(payload, payload_type)
    signatures = [
        {
            "keyid": key_id(bytes.fromhex(signer.public_key.keyval["public"])),
            "sig": base64.b64encode(bytes.fromhex(signer.sign(message).signature)).decode(),
        }
        for signer in signers
    ]
    body: dict[str, Any] = {"payload": base64.b64encode(payload).decode(), "payloadType": payload_type}
    raw = rfc8785.dumps(body | {"signatures": signatures})
    _check_size(raw)
    return raw


def parse(raw: bytes) -> Envelope:
    """Read an envelope: at most 256 KiB, exactly the fields above, strict base64.

    Raises EnvelopeTooLargeError, BadEnvelopeError or BadBase64Error.
    """
    _check_size(raw)
    try:
        body = strict_json.parse(raw)
    except ValueError as error:
        raise BadEnvelopeError(f"The envelope is not JSON that can be trusted: {error}.") from None
    _check_fields(body, {"payload": str, "payloadType": str, "signatures": list}, "The envelope")
    if len(body["signatures"]) > MAX_SIGNATURES:
        raise BadEnvelopeError(f"The envelope's field signatures holds more than {MAX_SIGNATURES}.")
    for index, signature in enumerate(body["signatures"]):
        _check_fields(signature, {"keyid": str, "sig": str}, f"The envelope's field signatures.{index}")
    return Envelope(
        payload=_decode(body["payload"], "payload"),
        payload_type=body["payloadType"],
        signatures=tuple(
            Signature(signature["keyid"], _decode(signature["sig"], f"signatures.{index}.sig"))
            for index, signature in enumerate(body["signatures"])
        ),
    )


def _check_size(raw: bytes) -> None:
    if len(raw) > MAX_BYTES:
        raise EnvelopeTooLargeError(f"The envelope has {len(raw)} bytes; at most {MAX_BYTES} are allowed.")


def _check_fields(value: Any, fields: dict[str, type], name: str) -> None:
    if not isinstance(value, dict) or set(value) != set(fields):
        raise BadEnvelopeError(f"{name} must have the fields {', '.join(fields)} and no others.")
    for field, kind in fields.items():
        if not isinstance(value[field], kind):
            raise BadEnvelopeError(f"{name}: {field} must be {'a list' if kind is list else 'text'}.")


def _decode(text: str, field: str) -> bytes:
    # Encoding again catches what validate=True lets pass: unused bits in the last character.
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or base64.b64encode(data).decode() != text:
        raise BadBase64Error(f"The envelope's field {field} is not strict base64.")
    return data
