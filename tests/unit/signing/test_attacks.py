"""What somebody who can write to the broker may try, and the rule that answers it."""

import base64
import hashlib
import json
from typing import Any

import pytest

from pools.signing import (
    CONFIG_TYPE,
    RUN_TYPE,
    SigningError,
    Trusted,
    TrustRoot,
    VerifiedConfig,
    errors,
    sign,
    verify_config,
    verify_run,
)
from pools.signing.keys import new_signer
from pools.signing.strict_json import canonical
from pools.spec import PoolSpec, parse_spec
from tests.support.simulator import YEAR, Simulator

POOL = "0b7e4a52-7f9d-4b53-9d57-1f3f0f3f6a11"
OTHER_POOL = "96b4a5b6-13a5-4f80-8c0c-0c9a6f1c2d22"
SPEC = {"queues": ["mail"], "workers": 2}


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(now=1_800_000_000)


def verify(simulator: Simulator, raw: bytes, last: Trusted | None = None, **changes: Any) -> VerifiedConfig[PoolSpec]:
    arguments: dict[str, Any] = {"root": simulator.root, "env": simulator.env, "pool_uid": POOL, "now": simulator.now}
    return verify_config(raw, last=last, parse_spec=parse_spec, **arguments | changes)


def signed(simulator: Simulator, payload: bytes) -> bytes:
    return simulator.sign(payload, CONFIG_TYPE)


def test_good_config_is_accepted(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC)
    verified = verify(simulator, raw)
    assert verified.spec == parse_spec(SPEC)
    assert (verified.version, verified.raw) == (1, raw)
    assert verified.trusted == Trusted(1, verified.sha256)
    assert verified.payload.pool_uid == POOL


def test_next_version_chains_to_the_last(simulator: Simulator) -> None:
    first = verify(simulator, simulator.config(POOL, SPEC))
    second = verify(simulator, simulator.config(POOL, SPEC), first.trusted)
    assert second.version == 2
    assert second.payload.prev_sha256 == first.sha256


def test_same_version_again_is_no_change(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC)
    first = verify(simulator, raw)
    assert verify(simulator, raw, first.trusted) == first


def test_agent_that_was_away_jumps_over_versions(simulator: Simulator) -> None:
    first = verify(simulator, simulator.config(POOL, SPEC))
    for _ in range(3):
        newest = simulator.config(POOL, SPEC)
    assert verify(simulator, newest, first.trusted).version == 4


def test_version_rollback(simulator: Simulator) -> None:
    old, new = simulator.config(POOL, SPEC), simulator.config(POOL, SPEC)
    trusted = verify(simulator, new).trusted
    with pytest.raises(errors.VersionRollbackError, match="version is 1; 2 is trusted"):
        verify(simulator, old, trusted)


def test_same_version_with_other_contents(simulator: Simulator) -> None:
    trusted = verify(simulator, simulator.config(POOL, SPEC)).trusted
    with pytest.raises(errors.VersionRollbackError, match="other contents"):
        verify(simulator, simulator.config(POOL, SPEC | {"workers": 3}, version=1), trusted)


@pytest.mark.parametrize("prev", ["0" * 64, ""])
def test_broken_chain(simulator: Simulator, prev: str) -> None:
    trusted = verify(simulator, simulator.config(POOL, SPEC)).trusted
    with pytest.raises(errors.BrokenChainError):
        verify(simulator, simulator.config(POOL, SPEC, prev_sha256=prev), trusted)


def test_first_version_with_a_predecessor(simulator: Simulator) -> None:
    with pytest.raises(errors.BrokenChainError):
        verify(simulator, simulator.config(POOL, SPEC, prev_sha256="0" * 64))


def test_config_of_another_pool(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongPoolError, match=OTHER_POOL):
        verify(simulator, simulator.config(OTHER_POOL, SPEC))


def test_config_of_another_environment(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongEnvironmentError, match="prod"):
        verify(simulator, simulator.config(POOL, SPEC, env="prod"))


def test_trust_root_of_another_environment(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongEnvironmentError, match="trust root"):
        verify(simulator, simulator.config(POOL, SPEC, env="prod"), env="prod")


def test_expired_config(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC, expires=simulator.now)
    assert verify(simulator, raw, now=simulator.now - 1).version == 1
    with pytest.raises(errors.ExpiredError):
        verify(simulator, raw)


def test_config_before_its_time(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC, not_before=simulator.now)
    assert verify(simulator, raw).version == 1
    with pytest.raises(errors.NotYetValidError):
        verify(simulator, raw, now=simulator.now - 1)


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


def test_run_state_offered_as_a_config(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongPayloadTypeError):
        verify(simulator, simulator.run(POOL, "paused"))


def test_payload_type_rewritten_under_the_signature(simulator: Simulator) -> None:
    body = json.loads(simulator.run(POOL, "paused")) | {"payloadType": CONFIG_TYPE}
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(body).encode())


def test_payload_of_one_envelope_with_the_signature_of_another(simulator: Simulator) -> None:
    old, new = (json.loads(simulator.config(POOL, SPEC | {"workers": n})) for n in (1, 2))
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(new | {"signatures": old["signatures"]}).encode())


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


def test_config_that_this_host_does_not_allow(simulator: Simulator) -> None:
    raw = simulator.config(POOL, SPEC | {"application": {"directory": "/srv/other"}})

    def allowed(payload: object, spec: PoolSpec) -> str | None:
        return "its directory is outside /srv/app" if spec.application.directory == "/srv/other" else None

    with pytest.raises(errors.NotAllowedError, match="outside /srv/app"):
        verify(simulator, raw, allowed=allowed)
    assert verify(simulator, simulator.config(POOL, SPEC), allowed=allowed).version == 2


def test_refusal_says_that_nothing_was_changed(simulator: Simulator) -> None:
    with pytest.raises(SigningError, match=r"Nothing was changed\.$"):
        verify(simulator, b"{}")


def test_rules_are_checked_in_the_order_of_the_design(simulator: Simulator) -> None:
    """One envelope that breaks every rule, mended rule by rule: each time the next one speaks."""
    trusted = Trusted(5, "a" * 64)
    now = simulator.now
    wrong: dict[str, Any] = {"env": "prod", "prev_sha256": "b" * 64, "not_before": now + 1, "expires": now}
    good = {"version": 6, "env": "test", "prev_sha256": trusted.sha256, "not_before": now, "expires": now + 1}
    fields = simulator.config_fields(OTHER_POOL, SPEC, version=4) | wrong
    fields["spec"] |= {"queues": []}
    stranger = new_signer()
    steps: list[tuple[str, bytes]] = [
        ("envelope_too_large", b"[" * 300_000),
        ("bad_envelope", b"["),
        ("bad_base64", b'{"payload":"?","payloadType":"x","signatures":[]}'),
        ("wrong_payload_type", sign(b"{,}", RUN_TYPE, [stranger])),
        ("threshold_not_met", sign(b"{,}", CONFIG_TYPE, [stranger])),
        ("bad_json", signed(simulator, b"{,}")),
        ("not_canonical", signed(simulator, b"{ }")),
        ("bad_payload", signed(simulator, b"{}")),
        ("wrong_environment", signed(simulator, canonical(fields))),
    ]
    for code, mended in [
        ("wrong_pool", "env"),
        ("version_rollback", "pool_uid"),
        ("broken_chain", "version"),
        ("not_yet_valid", "prev_sha256"),
        ("expired", "not_before"),
        ("bad_payload", "expires"),
    ]:
        fields |= {mended: {**good, "pool_uid": POOL}[mended]}
        steps.append((code, signed(simulator, canonical(fields))))
    fields["spec"] |= {"queues": ["mail"]}
    steps.append(("not_allowed", signed(simulator, canonical(fields))))

    for code, raw in steps:
        with pytest.raises(SigningError) as refusal:
            verify(simulator, raw, trusted, allowed=lambda payload, spec: "policy")
        assert refusal.value.code == code
    assert verify(simulator, steps[-1][1], trusted).version == 6


def _run(simulator: Simulator, raw: bytes, last_generation: int | None = None, **changes: Any) -> str:
    arguments: dict[str, Any] = {"root": simulator.root, "env": "test", "pool_uid": POOL, "now": simulator.now}
    return verify_run(raw, last_generation=last_generation, **arguments | changes).state


def test_run_state_is_accepted_again_and_forward(simulator: Simulator) -> None:
    paused, running = simulator.run(POOL, "paused"), simulator.run(POOL, "running")
    assert _run(simulator, paused) == "paused"
    assert _run(simulator, paused, 1) == "paused"
    assert _run(simulator, running, 1) == "running"
    assert (
        verify_run(
            running, root=simulator.root, env="test", pool_uid=POOL, last_generation=None, now=simulator.now
        ).generation
        == 2
    )


def test_run_state_replay(simulator: Simulator) -> None:
    with pytest.raises(errors.VersionRollbackError, match="generation is 1, after 2"):
        _run(simulator, simulator.run(POOL, "running"), 2)


def test_run_state_of_another_pool_environment_or_time(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongPoolError):
        _run(simulator, simulator.run(OTHER_POOL, "paused"))
    with pytest.raises(errors.WrongEnvironmentError):
        _run(simulator, simulator.run(POOL, "paused", env="prod"))
    with pytest.raises(errors.RootExpiredError):
        _run(simulator, simulator.run(POOL, "paused"), now=simulator.now + YEAR)
    with pytest.raises(errors.WrongPayloadTypeError):
        _run(simulator, simulator.config(POOL, SPEC))
    with pytest.raises(errors.BadPayloadError):
        _run(simulator, simulator.run(POOL, "stopped"))


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [leaf.code for leaf in SigningError.__subclasses__()]
    assert len(set(codes)) == len(codes) == 18
