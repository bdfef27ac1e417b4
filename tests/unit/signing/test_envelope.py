import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from pools.signing.envelope import MAX_BYTES, MAX_SIGNATURES, pae, parse, sign
from pools.signing.errors import BadBase64Error, BadEnvelopeError, EnvelopeTooLargeError
from pools.signing.keys import new_signer
from tests.unit.signing.vectors import vector


@pytest.fixture
def body() -> dict[str, Any]:
    """A good envelope, as JSON values that a test may spoil."""
    loaded: dict[str, Any] = json.loads(sign(b"hello world", "text/x", [new_signer()]))
    return loaded


def test_pae_is_that_of_the_specification() -> None:
    case = vector("dsse.json")
    assert pae(case["payload_utf8"].encode(), case["payloadType"]) == case["pae_utf8"].encode()


def test_signature_of_the_specification_verifies_over_our_pae() -> None:
    case = vector("dsse.json")
    numbers = EllipticCurvePublicNumbers(int(case["key"]["X"]), int(case["key"]["Y"]), SECP256R1())
    signature = base64.b64decode(case["envelope"]["signatures"][0]["sig"])
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    payload = base64.b64decode(case["envelope"]["payload"])
    numbers.public_key().verify(der, pae(payload, case["payloadType"]), ECDSA(SHA256()))


def test_envelope_survives_the_wire() -> None:
    signer = new_signer()
    envelope = parse(sign(b"hello world", "text/x", [signer]))
    assert (envelope.payload, envelope.payload_type) == (b"hello world", "text/x")
    assert [signature.keyid for signature in envelope.signatures] == [signer.public_key.keyid]
    assert envelope.signatures[0].value.hex() == signer.sign(pae(b"hello world", "text/x")).signature


def test_too_large_an_envelope_is_not_read() -> None:
    with pytest.raises(EnvelopeTooLargeError):
        parse(b" " * (MAX_BYTES + 1))
    with pytest.raises(BadEnvelopeError):
        parse(b" " * MAX_BYTES)


def test_too_large_an_envelope_is_not_signed() -> None:
    with pytest.raises(EnvelopeTooLargeError):
        sign(b"x" * MAX_BYTES, "text/x", [new_signer()])


@pytest.mark.parametrize(
    "text",
    ["aGVsbG8", "aGVsbG8=\n", "aGVs bG8=", "aGVsbG9=", "aGVsbG8==", "a-_v", "=", "é", "aGVsbG8=aGVsbG8=", "\ud800"],
)
@pytest.mark.parametrize("field", ["payload", "sig"])
def test_loose_base64_is_refused(body: dict[str, Any], text: str, field: str) -> None:
    (body if field == "payload" else body["signatures"][0])[field] = text
    with pytest.raises(BadBase64Error, match=field):
        parse(json.dumps(body).encode())


def test_strange_shapes_are_refused(body: dict[str, Any]) -> None:
    signature = body["signatures"][0]
    strange: list[Any] = [
        [],
        None,
        "text",
        {},
        body | {"extra": "x"},
        body | {"payload": 1},
        body | {"payloadType": ["text/x"]},
        body | {"signatures": {"0": signature}},
        body | {"signatures": ["x"]},
        body | {"signatures": [signature | {"keyid": 1}]},
        body | {"signatures": [signature | {"extra": "x"}]},
        body | {"signatures": [{"sig": signature["sig"]}]},
        body | {"signatures": [signature] * (MAX_SIGNATURES + 1)},
    ]
    for value in strange:
        with pytest.raises(BadEnvelopeError):
            parse(json.dumps(value).encode())


def test_duplicate_key_in_the_envelope_is_refused(body: dict[str, Any]) -> None:
    raw = json.dumps(body)
    with pytest.raises(BadEnvelopeError, match="repeated key"):
        parse((raw[:-1] + ',"payloadType":"text/y"}').encode())
