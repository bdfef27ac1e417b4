"""Names and arguments out of payloads that nobody loads, and patterns that Lua matches as Python does."""

import json
import pickle
import zlib
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from pools.runtime.claims import _script
from pools.runtime.rules import pieces
from pools.runtime.task_name import argument, task_name
from tests.support.valkey import ValkeyServer

MATCHES = _script("holds", "gates") + "return matches(ARGV[1], cjson.decode(ARGV[2])) and 1 or 0"


@pytest.mark.parametrize("serializer", [None, JSONSerializer])
def test_payloads_of_rq(serializer: Any) -> None:
    job = Job.create(
        "shop.tasks.send", args=(1, {"a": [5, "x"]}), kwargs={"n": "é"}, connection=Redis(), serializer=serializer
    )
    assert task_name(job.data) == "shop.tasks.send"
    found = [argument(job.data, path) for path in ("0", "1.a.0", "1.a.1", "n", "2", "x", "n.x", "1.a", "1.a.9")]
    assert found == ["1", "5", "x", "é", "", "", "", "", ""]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol(protocol: int) -> None:
    call = ("shop.send", None, (datetime(2026, 1, 1, tzinfo=UTC), 3), {"to": {"id": 8}})
    data = zlib.compress(pickle.dumps(call, protocol))
    assert (task_name(data), argument(data, "1"), argument(data, "to.id")) == ("shop.send", "3", "8")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[",
        b"[1]",
        b'["\\ud800"',
        b"\x80",
        b"[" * 100_000,
        zlib.compress(b"x" * 5_000_000),
        pickle.dumps([["shop.send"]] * 3),
        b"(\x8c\x05shops0\x8c\x04evilt.",
    ],
)
def test_other_bytes_name_nothing_that_could_not_be_stored(data: bytes) -> None:
    assert task_name(data).encode() in (b"", b"?")
    assert argument(data, "a.0").encode() == b""


def test_a_pickle_that_would_grow_without_end_is_not_spread_out() -> None:
    value: Any = "x"
    for _ in range(60):
        value = [value, value]
    data = zlib.compress(pickle.dumps(("t", None, (value,), {})))
    assert argument(data, ".".join(["0"] * 61)) == "x"


def test_a_payload_is_not_loaded(tmp_path: Any) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(tmp_path / "made"), "w")

    data = pickle.dumps(("t", Bomb(), (Bomb(),), {"a": Bomb()}))
    assert (task_name(data), argument(data, "a")) == ("t", "")
    assert not (tmp_path / "made").exists()


@given(
    pattern=st.text("ab.*?_-", min_size=1, max_size=12)
    | st.from_regex(r"[a-c*]{0,4}\[!?[a-c]{1,3}\][a-c.*?]{0,4}", fullmatch=True),
    name=st.text("abc._-[", max_size=12),
)
@settings(max_examples=400)
def test_lua_matches_as_python_does(valkey: ValkeyServer, pattern: str, name: str) -> None:
    found = valkey.client.eval(MATCHES, 0, name, json.dumps(pieces(pattern)))
    assert bool(found) == fnmatchcase(name, pattern)
