"""Taking a JSON payload apart for editing, and what cannot be."""

import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

from pools.broker.payload_edit import (
    DEPTH_LIMIT,
    EDIT_LIMIT,
    PATHS_SHOWN,
    changed_paths,
    editable,
    packed,
    pretty,
    strict_json,
)
from pools.broker.payload_reveal import Unreadable
from tests.broker.jobs import Marker

CALL: list[Any] = ["shop.capture", None, [1, "two"], {"order": {"id": 7, "tags": ["a", "b"]}}]


def stored(call: Any) -> bytes:
    return zlib.compress(json.dumps(call).encode())


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_call_is_taken_apart_and_put_together_as_it_was() -> None:
    found = editable(stored(CALL))
    assert (found.func, found.instance, found.args, found.kwargs) == tuple(CALL)
    assert packed(found.with_arguments(found.args, found.kwargs)) == stored(CALL)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (zlib.compress(pickle.dumps(("shop.capture", None, (1,), {}))), "never does"),
        (zlib.compress(pickle.dumps(("shop.capture", None, (1,), {}), protocol=0)), "never does"),
        (b"\x00\x01", "not JSON"),
        (zlib.compress(b"[1, 2"), "not JSON"),
        (zlib.compress(b"\xff\xfe"), "not JSON"),
        (stored({"func": "x"}), "no call"),
        (stored(["shop.capture", None, []]), "no call"),
        (stored([1, None, [], {}]), "no call"),
        (stored(["shop.capture", None, {}, []]), "no call"),
        (stored(["shop.capture", None, [nested(DEPTH_LIMIT)], {}]), "nested more than"),
        (zlib.compress(b"[" * 100_000), "not JSON"),
        (stored(["shop.capture", None, ["x" * EDIT_LIMIT], {}]), "at most 256,000 can be edited"),
        (stored(["shop.capture", None, ["x" * 3_000_000], {}]), "longer than"),
        (stored(CALL)[:-6], "damaged"),
    ],
)
def test_what_cannot_be_edited_says_why(payload: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        editable(payload)


def test_a_pickle_is_not_loaded_to_say_so(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    with pytest.raises(Unreadable, match="never does"):
        editable(zlib.compress(pickle.dumps(("shop.f", None, (Marker(str(trap)),), {}))))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1,", "Line 1, column"),
        ("[NaN]", "NaN is no JSON"),
        ("[Infinity]", "Infinity is no JSON"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 100_000 + "]" * 100_000, "nested"),
        (json.dumps(nested(DEPTH_LIMIT + 1)), "nested"),
        ("[" + "9" * 5000 + "]", "digits"),
        ("", "Line 1"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        strict_json(text)


def test_paths_say_where_and_never_what() -> None:
    found = editable(stored(CALL))
    same = found.args, found.kwargs
    assert changed_paths(found, *same) == []
    new = {"order": {"id": "sk_live", "tags": ["a"]}, "more": {}}
    assert changed_paths(found, [1, "two", None], new) == [
        "kwargs.order.id",
        "kwargs.order.tags.1",
        "args.2",
        "kwargs.more",
    ]
    assert changed_paths(found, [1.0, "two"], found.kwargs) == ["args.0"], "1.0 is not 1 to whom it is told"
    assert changed_paths(found, [True, "two"], found.kwargs) == ["args.0"]
    assert len(changed_paths(found, list(range(200)), {})) == PATHS_SHOWN


def test_names_that_would_hide_something_are_spelt_out() -> None:
    found = editable(stored(CALL))
    (path,) = changed_paths(found, found.args, found.kwargs | {"a\u202eb\x00\ud800": 1})
    assert path == "kwargs.a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩"
    text = pretty({"a\u202eb": "\ud800ü\n"})
    assert "\u202e" not in text and "ü" in text and json.loads(text) == {"a\u202eb": "\ud800ü\n"}
