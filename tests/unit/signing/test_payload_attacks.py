"""What is signed: payloads that two readers could understand differently."""

import json

import pytest

from pools.signing import SigningError, errors
from pools.signing.strict_json import canonical
from tests.support.simulator import Simulator
from tests.unit.signing.cases import POOL, SPEC, signed, verify


@pytest.mark.parametrize(
    ("find", "put", "error"),
    [
        (b'"version":1', b'"version":1,"version":1', errors.BadJsonError),
        (b'"version":1', b'"version":NaN', errors.BadJsonError),
        (b'"version":1', b'"version":Infinity', errors.BadJsonError),
        (b'"version":1', b'"version":1.0', errors.BadJsonError),
        (b'"version":1', b'"version":1e0', errors.BadJsonError),
        (b'"version":1', b'"version":true', errors.NotCanonicalError),
        (b'"version":1', b'"version":null', errors.NotCanonicalError),
        (b'"version":1', b'"version": 1', errors.NotCanonicalError),
        (b'"version":1', b'"version":9007199254740993', errors.NotCanonicalError),
        (b'"not_before":0', b'"not_before":-0', errors.NotCanonicalError),
        (b'"pool":"pool"', '"pool":"e\u0301"'.encode(), errors.NotCanonicalError),
        (b'"pool":"pool"', b'"pool":"p\\u006fol"', errors.NotCanonicalError),
        (b'"pool":"pool"', b'"pool":"\\ud800"', errors.NotCanonicalError),
        (b'"pool":"pool"', b'"pool":"\xff"', errors.BadJsonError),
        (b'"version":1', b'"version":"1"', errors.BadPayloadError),
        (b'"version":1', b'"version":0', errors.BadPayloadError),
        (b'"version":1', b'"version":1,"zzz":1', errors.BadPayloadError),
        (b"poolwarden.config/1", b"poolwarden.config/2", errors.BadPayloadError),
        (b'"workers":2', b'"workers":999', errors.BadPayloadError),
        (b'"workers":2', b'"workers":2,"zzz":1', errors.BadPayloadError),
    ],
)
def test_signed_payload_with_two_readings(
    simulator: Simulator, find: bytes, put: bytes, error: type[SigningError]
) -> None:
    """Even a trusted key must not sign what another reader could understand differently."""
    payload = canonical(simulator.config_fields(POOL, SPEC, not_before=0))
    assert payload.count(find) == 1
    with pytest.raises(error):
        verify(simulator, signed(simulator, payload.replace(find, put)))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"1", b'"x"', b"{}", b"[" * 50_000, b'{"a":' * 500 + b"1" + b"}" * 500]
)
def test_signed_payload_of_another_shape(simulator: Simulator, payload: bytes) -> None:
    with pytest.raises((errors.BadJsonError, errors.NotCanonicalError, errors.BadPayloadError)):
        verify(simulator, signed(simulator, payload))


def test_key_order_that_is_not_canonical(simulator: Simulator) -> None:
    fields = simulator.config_fields(POOL, SPEC)
    payload = json.dumps(fields, separators=(",", ":")).encode()
    with pytest.raises(errors.NotCanonicalError):
        verify(simulator, signed(simulator, payload))


def test_secret_reference_that_the_spec_does_not_name(simulator: Simulator) -> None:
    with pytest.raises(errors.BadPayloadError, match="secrets"):
        verify(simulator, simulator.config(POOL, SPEC, secrets={"root": "file:///etc/shadow"}))
