import hashlib
import json

import pytest
import rfc8785

from pools.signing import strict_json
from tests.unit.signing.vectors import vector


def _case(name: str) -> dict[str, str]:
    return next(case for case in vector("rfc8785_jcs.json")["cases"] if case["name"] == name)


def test_canonical_writer_agrees_with_the_published_vectors() -> None:
    for case in vector("rfc8785_jcs.json")["cases"]:
        written = rfc8785.dumps(json.loads(case["input_utf8"]))
        assert written.hex() == case["canonical_hex"], case["name"]
        assert hashlib.sha256(written).hexdigest() == case["sha256"], case["name"]


def test_text_only_vector_passes_the_strict_reader_and_writer() -> None:
    case = _case("french.json")
    assert strict_json.canonical(strict_json.parse(case["input_utf8"].encode())).hex() == case["canonical_hex"]


def test_unnormalised_text_is_written_as_nfc() -> None:
    case = _case("unicode.json")
    assert (
        strict_json.canonical(strict_json.parse(case["input_utf8"].encode())) == '{"Unnormalized Unicode":"Å"}'.encode()
    )


@pytest.mark.parametrize("name", ["arrays.json", "structures.json", "values.json"])
def test_vectors_with_other_values_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="whole number"):
        strict_json.canonical(strict_json.parse(_case(name)["input_utf8"].encode()))


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b'{"a":1,"a":1}', "repeated key"),
        (b'{"a":1,"\\u0061":1}', "repeated key"),
        (b'[{"x":{"a":1,"a":2}}]', "repeated key"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"-Infinity", "-Infinity"),
        (b"1.0", "1.0"),
        (b"1e2", "1e2"),
        (b"[" * 100_000, "deeply"),
        (b"\xff", "utf-8"),
        (b'\xef\xbb\xbf{"a":1}', "BOM"),
        ('{"a":1}'.encode("utf-16"), "utf-8"),
        (b'"\x01"', "control character"),
        (b"9" * 5000, "digits"),
        (b"{} {}", "Extra data"),
        (b"", "Expecting value"),
    ],
)
def test_ambiguous_json_is_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        strict_json.parse(raw)


@pytest.mark.parametrize("value", [True, None, 1.5, {"a": [False]}, b"x", 2**53, "\ud800", {1: 2}, {"\ud800": 1}])
def test_other_values_have_no_canonical_form(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        strict_json.canonical(value)


def test_keys_that_normalise_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="repeated key"):
        strict_json.canonical({"\u00e9": 1, "e\u0301": 2})


def test_deep_nesting_is_refused_by_the_writer() -> None:
    value: object = 1
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="deeply"):
        strict_json.canonical(value)
