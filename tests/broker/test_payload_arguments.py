"""What of a payload is indexed: named scalars of JSON calls, as digests. Hostile payloads are indexed not at all."""

import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from pools.arguments import PATHS_EACH, digest, is_path, problem_of
from pools.broker.payload_arguments import argument_digests
from pools.broker.payload_reveal import UNPACKED_LIMIT
from tests.broker.jobs import Marker


def packed(text: str) -> bytes:
    return zlib.compress(text.encode())


def call(*args: Any, **kwargs: Any) -> bytes:
    return packed(json.dumps(["shop.orders.parse", None, args, kwargs]))


def is_indexed(payload: Any, path: str, value: str) -> bool:
    found = argument_digests(payload, [path])
    assert len(found) <= 1
    return found.get(path) == digest(path, value)


ORDER = call(
    7, {"order_id": "ord_1"}, [1, [2, 3]], user={"id": 42, "name": " Ötzi ", "vip": True}, rate=1.50, note=None
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("0", "7"),
        ("1.order_id", "ord_1"),
        ("2.1.0", "2"),
        ("user.id", "42"),
        ("user.name", "Ötzi"),
        ("user.vip", "true"),
        ("rate", "1.5"),
    ],
)
def test_names_and_places_lead_to_values(path: str, value: str) -> None:
    assert is_indexed(ORDER, path, value)
    assert not is_indexed(ORDER, path, value + "1")


@pytest.mark.parametrize(
    "path", ["note", "user", "2", "3", "2.9", "user.id.x", "user.0", "1.0", "none", "0.0", "\u0660", "2.\u0660"]
)
def test_where_a_path_leads_to_no_scalar_nothing_is_indexed(path: str) -> None:
    assert argument_digests(ORDER, [path]) == {}


def test_a_number_and_its_text_are_the_same() -> None:
    assert argument_digests(call(id=42), ["id"]) == argument_digests(call(id="42"), ["id"])
    assert argument_digests(call(id=42), ["id"]) != argument_digests(call(id=43), ["id"])


def test_numbers_are_as_they_were_written() -> None:
    written = packed(f'["f", null, [1.50, 1e999, {"9" * 150}, NaN], {{}}]')
    assert (
        is_indexed(written, "0", "1.50") and is_indexed(written, "1", "1e999") and is_indexed(written, "2", "9" * 150)
    )
    assert argument_digests(written, ["3"]) == {}


def test_a_name_that_stands_twice_counts_as_the_worker_reads_it() -> None:
    assert is_indexed(packed('["f", null, [], {"id": 1, "id": 2}]'), "id", "2")
    assert is_indexed(packed('["f", null, [], {"user": {"id": 1}, "user": {"id": 2}}]'), "user.id", "2")


def test_texts_may_hold_anything_but_be_long() -> None:
    assert is_indexed(call(id="a\x00b"), "id", "a\x00b")
    assert is_indexed(packed('["f", null, [], {"id": "\\ud800"}]'), "id", "\ud800")
    assert is_indexed(call(id="x" * 200), "id", "x" * 200)
    assert argument_digests(call(id="x" * 201), ["id"]) == argument_digests(call(id="  "), ["id"]) == {}


HOSTILE = {
    "nothing": None,
    "empty": b"",
    "no JSON": b"[oops",
    "no call": packed('["f", null, []]'),
    "an object": packed('{"id": 1}'),
    "a scalar": packed("1"),
    "arguments of other types": packed('["f", null, {"0": 1}, [1]]'),
    "nested deep": packed('["f", null, [], {"id": ' + "[" * 200_000 + "]" * 200_000 + "}]"),
    "larger than it looks": packed('["f", null, [], {"x": "' + "a" * UNPACKED_LIMIT + '", "id": 1}]'),
    "torn": call(id=1)[:-5],
    "not UTF-8": zlib.compress(b'["f", null, [], {"id": "\xff"}]'),
    "a text that is no payload": "text",
    "an error": ValueError("WRONGTYPE"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_payloads_have_nothing_indexed(name: str) -> None:
    assert argument_digests(HOSTILE[name], ["id", "0", "id.0"]) == {}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_are_not_loaded(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "loaded"
    stored = pickle.dumps(("f", None, (Marker(str(trace)), 1), {"id": 1}), protocol)
    assert argument_digests(zlib.compress(stored), ["id", "1"]) == argument_digests(stored, ["id", "1"]) == {}
    assert not trace.exists()


def test_a_digest_needs_the_installation_s_key_and_says_its_path() -> None:
    here = digest("id", "42")
    assert len(here) == 16
    assert len({here, digest("id", "43"), digest("user", "42"), digest("i", "d\x0042")}) == 4
    with override_settings(SECRET_KEY="another"):
        assert digest("id", "42") != here


@pytest.mark.parametrize("path", ["user.id", "0", "0.order_id", "kunde.größe", "a-b.c_d.0"])
def test_paths(path: str) -> None:
    assert is_path(path)


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a b", "a:b", "a=b", "a,b", 'a"b', "a\x00", "a\n", "x" * 101]
)
def test_what_is_no_path(path: str) -> None:
    assert not is_path(path)
    assert "is no path" in problem_of(["user.id", path])


def test_a_pool_names_a_few_paths() -> None:
    paths = [f"a.{n}" for n in range(PATHS_EACH)]
    assert problem_of(paths) == problem_of([]) == ""
    assert problem_of([*paths, "b"]) == "At most 5 paths, not 6."
