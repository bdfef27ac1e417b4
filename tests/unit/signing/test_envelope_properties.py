"""No change to a published envelope may change what an agent takes from it."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pools.signing import CONFIG_TYPE, SigningError, Trusted, verify_config, verify_run
from pools.signing.strict_json import canonical
from pools.spec import parse_spec
from tests.support.simulator import Simulator

POOL = "0b7e4a52-7f9d-4b53-9d57-1f3f0f3f6a11"
SPEC = {"queues": ["mail", "press"], "workers": 2, "placement": {"zone": "Zürich"}}
NOW = 1_800_000_000
SIMULATOR = Simulator(now=NOW)
PUBLISHED = SIMULATOR.config(POOL, SPEC)
RUN = SIMULATOR.run(POOL, "paused")


def digest(raw: bytes, last: Trusted | None = None) -> str | None:
    """The accepted payload's SHA-256, or None when the agent refuses. Any other exception is a fault."""
    try:
        return verify_config(
            raw, root=SIMULATOR.root, env="test", pool_uid=POOL, last=last, now=NOW, parse_spec=parse_spec
        ).sha256
    except SigningError:
        return None


GOOD = digest(PUBLISHED)


def flips_and_deletions(raw: bytes) -> Iterator[bytes]:
    for position in range(len(raw)):
        yield raw[:position] + raw[position + 1 :]
        for bit in range(8):
            yield raw[:position] + bytes([raw[position] ^ 1 << bit]) + raw[position + 1 :]


def test_every_flipped_bit_and_every_deleted_byte_of_a_config() -> None:
    assert GOOD is not None
    assert {digest(raw) for raw in flips_and_deletions(PUBLISHED)} == {None}


def test_every_flipped_bit_and_every_deleted_byte_of_a_run_state() -> None:
    accepted = 0
    for raw in flips_and_deletions(RUN):
        try:
            verify_run(raw, root=SIMULATOR.root, env="test", pool_uid=POOL, last_generation=None, now=NOW)
            accepted += 1
        except SigningError:
            pass
    assert accepted == 0


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "copy"]),
        st.integers(0, len(PUBLISHED) - 1),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


@given(edits)
@settings(max_examples=1000)
def test_edited_config_is_refused_or_means_the_same(steps: list[tuple[str, int, int]]) -> None:
    raw = bytearray(PUBLISHED)
    for kind, position, value in steps:
        position %= len(raw)
        if kind == "flip":
            raw[position] ^= value
        elif kind == "insert":
            raw.insert(position, value)
        elif kind == "delete":
            del raw[position]
        else:
            raw[position:position] = raw[position : position + value]
    assert digest(bytes(raw)) in (None, GOOD)


@given(st.sampled_from(b" \t\r\n"), st.integers(0, len(PUBLISHED)))
@settings(max_examples=200)
def test_white_space_is_refused_or_means_the_same(space: int, position: int) -> None:
    assert digest(PUBLISHED[:position] + bytes([space]) + PUBLISHED[position:]) in (None, GOOD)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
@settings(max_examples=300)
def test_any_json_as_an_envelope_is_refused(value: Any) -> None:
    assert digest(json.dumps(value).encode()) is None


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_signed_bytes_are_refused(payload: bytes) -> None:
    assert digest(SIMULATOR.sign(payload, CONFIG_TYPE)) is None


@given(st.sampled_from(sorted(SIMULATOR.config_fields(POOL, SPEC, version=1))), json_values)
@settings(max_examples=500)
def test_signed_config_with_any_field_replaced_is_refused_or_taken_as_signed(field: str, value: Any) -> None:
    """A trusted key signs nonsense: the agent answers with a SigningError, never with another exception."""
    fields = SIMULATOR.config_fields(POOL, SPEC, version=1) | {field: value}
    payload = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert digest(SIMULATOR.sign(payload, CONFIG_TYPE)) in (None, hashlib.sha256(payload).hexdigest())


@given(st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=200)
def test_replay_never_lowers_the_version(trusted: int, offered: int) -> None:
    raw = SIMULATOR.sign(canonical(SIMULATOR.config_fields(POOL, SPEC, version=offered)), CONFIG_TYPE)
    accepted = digest(raw, Trusted(trusted, "c" * 64))
    # The next version must chain, which these do not; a later one may come after an absence.
    assert (accepted is not None) == (offered > trusted + 1)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
@settings(max_examples=200)
def test_config_counts_only_within_its_time(not_before: int, expires: int) -> None:
    fields = SIMULATOR.config_fields(POOL, SPEC, version=1, not_before=not_before, expires=expires)
    accepted = digest(SIMULATOR.sign(canonical(fields), CONFIG_TYPE))
    assert (accepted is not None) == (not_before <= NOW < expires)
