"""Who signed: keys unknown, doubled, aliased, rotated or expired, and signatures moved from elsewhere."""

import base64
import hashlib
import json

import pytest

from pools.signing import CONFIG_TYPE, TrustRoot, errors, sign
from pools.signing.keys import new_signer
from pools.signing.strict_json import canonical
from tests.support.simulator import YEAR, Simulator
from tests.unit.signing.cases import POOL, SPEC, verify


def test_trust_root_of_another_environment(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongEnvironmentError, match="trust root"):
        verify(simulator, simulator.config(POOL, SPEC, env="prod"), env="prod")


def test_expired_root(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC, expires=simulator.now + 3 * YEAR)
    with pytest.raises(errors.RootExpiredError):
        verify(simulator, raw, now=simulator.now + YEAR)


def test_key_that_the_root_does_not_know(simulator: Simulator) -> None:
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, Simulator(now=simulator.now).config(POOL, SPEC))


def test_envelope_without_signatures(simulator: Simulator) -> None:
    body = json.loads(simulator.config(POOL, SPEC)) | {"signatures": []}
    with pytest.raises(errors.ThresholdNotMetError, match="0 trusted keys"):
        verify(simulator, json.dumps(body).encode())


def test_trusted_key_id_over_a_strangers_signature(simulator: Simulator) -> None:
    body = json.loads(simulator.config(POOL, SPEC))
    stranger = json.loads(sign(b"x", CONFIG_TYPE, [new_signer()]))
    body["signatures"][0]["sig"] = stranger["signatures"][0]["sig"]
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(body).encode())


@pytest.mark.parametrize("length", [0, 1, 63, 65])
def test_signature_of_another_length(simulator: Simulator, length: int) -> None:
    body = json.loads(simulator.config(POOL, SPEC))
    body["signatures"][0]["sig"] = base64.b64encode(b"\x01" * length).decode()
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(body).encode())


def test_one_key_signs_twice_for_a_threshold_of_two() -> None:
    simulator = Simulator(keys=2, threshold=2)
    body = json.loads(simulator.config(POOL, SPEC))
    body["signatures"] = [body["signatures"][0]] * 2
    with pytest.raises(errors.ThresholdNotMetError, match="1 trusted keys signed this envelope; 2 must"):
        verify(simulator, json.dumps(body).encode())


def test_one_key_under_two_ids_for_a_threshold_of_two() -> None:
    simulator = Simulator(keys=2, threshold=2)
    body = json.loads(simulator.config(POOL, SPEC))
    first, second = body["signatures"]
    second["sig"] = first["sig"]
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(body).encode())


def test_two_keys_meet_a_threshold_of_two() -> None:
    simulator = Simulator(keys=2, threshold=2)
    assert verify(simulator, simulator.config(POOL, SPEC)).version == 1


def test_unknown_signature_beside_a_good_one_does_no_harm(simulator: Simulator) -> None:
    payload = canonical(simulator.config_fields(POOL, SPEC))
    raw = sign(payload, CONFIG_TYPE, [new_signer(), *simulator.signers])
    assert verify(simulator, raw).sha256 == hashlib.sha256(payload).hexdigest()


def test_key_taken_out_of_the_role_no_longer_counts(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC)
    rotated = TrustRoot.create(env="test", expires=simulator.now + YEAR, keys=[new_signer().public_key], version=2)
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, raw, root=rotated)


def test_payload_of_one_envelope_with_the_signature_of_another(simulator: Simulator) -> None:
    old, new = (json.loads(simulator.config(POOL, SPEC | {"workers": n})) for n in (1, 2))
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(new | {"signatures": old["signatures"]}).encode())
