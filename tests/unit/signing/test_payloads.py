import hashlib
from typing import Any

import pytest

from pools.signing import ConfigPayload, RunPayload, config_payload, run_payload, strict_json
from pools.signing.errors import BadPayloadError
from pools.spec import parse_spec

SPEC = parse_spec({"queues": ["mail"], "workers": 1, "secrets": ["smtp"]}).as_dict()
CONFIG: dict[str, Any] = {
    "env": "test",
    "pool_uid": "5d1c",
    "pool": "mail",
    "version": 1,
    "prev_sha256": "",
    "not_before": 0,
    "expires": 10,
    "spec": SPEC,
    "secrets": {"smtp": "env://SMTP"},
    "change_id": "c0ffee",
}
RUN: dict[str, Any] = {
    "env": "test",
    "pool_uid": "5d1c",
    "pool": "mail",
    "generation": 1,
    "state": "paused",
    "issued": 0,
    "command_id": "c0ffee",
}


def test_config_payload_is_canonical_and_readable() -> None:
    raw = config_payload(**CONFIG)
    assert raw == strict_json.canonical(strict_json.parse(raw))
    payload = ConfigPayload.read(strict_json.parse(raw))
    assert payload.spec == SPEC
    assert payload.secrets == {"smtp": "env://SMTP"}


def test_config_payload_has_one_form() -> None:
    reordered = dict(reversed(CONFIG.items())) | {"spec": dict(reversed(SPEC.items()))}
    digests = {hashlib.sha256(config_payload(**fields)).hexdigest() for fields in (CONFIG, reordered)}
    assert len(digests) == 1


def test_config_payload_is_written_in_nfc() -> None:
    assert config_payload(**CONFIG | {"pool": "e\u0301"}) == config_payload(**CONFIG | {"pool": "\u00e9"})


def test_run_payload_is_readable() -> None:
    payload = RunPayload.read(strict_json.parse(run_payload(**RUN)))
    assert (payload.state, payload.generation) == ("paused", 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("env", ""),
        ("pool_uid", 1),
        ("version", 0),
        ("version", True),
        ("version", "1"),
        ("version", 1.0),
        ("prev_sha256", "xyz"),
        ("prev_sha256", None),
        ("not_before", -1),
        ("expires", None),
        ("spec", []),
        ("secrets", {}),
        ("secrets", {"smtp": "env://A", "other": "env://B"}),
        ("secrets", {"smtp": 1}),
        ("change_id", ""),
        ("pool", "x" * 201),
    ],
)
def test_wrong_config_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadPayloadError, match=rf"field {field}[. ]"):
        config_payload(**CONFIG | {field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("state", "stopped"), ("generation", 0), ("generation", True), ("issued", "now"), ("pool", None)],
)
def test_wrong_run_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadPayloadError, match=rf"field {field} "):
        run_payload(**RUN | {field: value})


@pytest.mark.parametrize("value", [1.5, None, True, 2**53])
def test_spec_value_that_cannot_be_signed(value: Any) -> None:
    with pytest.raises(BadPayloadError, match="cannot be signed"):
        config_payload(**CONFIG | {"spec": SPEC | {"workers": value}})


WISH: dict[str, Any] = {"breaker": "smtp", "state": "open", "generation": 3}


def test_wishes_of_breakers_are_signed_and_left_out_where_there_are_none() -> None:
    payload = RunPayload.read(strict_json.parse(run_payload(**RUN, breakers=[WISH])))
    assert [wish.model_dump() for wish in payload.breakers] == [WISH]
    assert b"breakers" not in run_payload(**RUN), "agents that do not know of them go on"


@pytest.mark.parametrize(
    ("field", "value"), [("breaker", ""), ("state", "held"), ("generation", 0), ("generation", "3"), ("more", 1)]
)
def test_wrong_wish_is_named(field: str, value: Any) -> None:
    with pytest.raises(BadPayloadError, match=rf"breakers\.0\.{field}"):
        run_payload(**RUN, breakers=[WISH | {field: value}])
