"""What a sandboxed job puts into its meta is stored only when nothing runs where it is loaded."""

import collections
import datetime
import json
import os
import pickle
from typing import Any

import pytest

from pools.runtime.strict import _is_data


class Evil:
    def __reduce__(self) -> Any:
        return os.getpid, ()


PLAIN = [{}, {"a": [1, 2.5, None, True, "text", b"raw"], "b": {"c": (1, 2, 3, 4)}, "d": {1, 2}, "e": 1 << 80}]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("meta", PLAIN)
def test_data_is_stored(meta: Any, protocol: int) -> None:
    if protocol < 4:
        meta = {key: value for key, value in meta.items() if key != "d"}
    if protocol < 3 and meta:
        meta["a"] = [1, 2.5]
    assert _is_data(pickle.dumps(meta, protocol))


@pytest.mark.parametrize("meta", [{"a": {"b": None}}, {}])
def test_json_is_stored(meta: Any) -> None:
    assert _is_data(json.dumps(meta).encode())


@pytest.mark.parametrize(
    "packed",
    [
        pickle.dumps(Evil()),
        pickle.dumps({"a": Evil()}),
        pickle.dumps({"a": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}),
        pickle.dumps(collections.OrderedDict()),
        pickle.dumps({"a": 1})[:-1],
        pickle.dumps({"a": Evil()}, 0),
        b"\x80\x04cos\ngetpid\n.",
        b"[1]",
        b"[" * 100_000,
        b"",
    ],
)
def test_nothing_else_is(packed: bytes) -> None:
    assert not _is_data(packed)
