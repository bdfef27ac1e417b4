"""What somebody who can write to the broker may try with envelopes that are rightly signed, and the answer."""

import json
from typing import Any

import pytest

from pools.signing import CONFIG_TYPE, RUN_TYPE, SigningError, Trusted, errors, sign
from pools.signing.keys import new_signer
from pools.signing.strict_json import canonical
from pools.spec import PoolSpec, parse_spec
from tests.support.simulator import Simulator
from tests.unit.signing.cases import OTHER_POOL, POOL, SPEC, signed, verify


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


def test_run_state_offered_as_a_config(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongPayloadTypeError):
        verify(simulator, simulator.run(POOL, "paused"))


def test_payload_type_rewritten_under_the_signature(simulator: Simulator) -> None:
    body = json.loads(simulator.run(POOL, "paused")) | {"payloadType": CONFIG_TYPE}
    with pytest.raises(errors.ThresholdNotMetError):
        verify(simulator, json.dumps(body).encode())


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


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [leaf.code for leaf in SigningError.__subclasses__()]
    assert len(set(codes)) == len(codes) == 18
