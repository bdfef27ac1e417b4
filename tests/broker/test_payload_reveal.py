"""Payloads made readable: every serializer, every protocol, and whatever somebody may have put there instead."""

import collections
import datetime
import decimal
import io
import json
import pickle
import pickletools
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from rq import Queue
from rq.serializers import JSONSerializer

from pools.broker import payload_pickle
from pools.broker.connection import Broker
from pools.broker.payload_reveal import STORED_LIMIT, UNPACKED_LIMIT, Payload, read_payload, readable
from pools.broker.payload_tree import CHARACTER_LIMIT, LINE_LIMIT
from tests.broker.commands import counted
from tests.broker.jobs import Marker
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.support.valkey import ValkeyServer


class Order:
    def __init__(self, number: int) -> None:
        self.number = number


def values(payload: Payload) -> dict[str, str]:
    return {line.path: line.text for line in payload.lines if line.step == "leaf"}


def bounded(payload: Payload) -> bool:
    """No more than a page can show, every bracket closed, and nothing that could not be sent or seen."""
    depth = 0
    for line in payload.lines:
        depth += {"open": 1, "close": -1}.get(line.step, 0)
        (line.name + line.path + line.text).encode("utf-8")
        assert "\u202e" not in line.text + line.name and depth >= 0
    characters = sum(len(line.text) + len(line.path) for line in payload.lines)
    return depth == 0 and len(payload.lines) < 2 * LINE_LIMIT + 50 and characters < CHARACTER_LIMIT + 50_000


def test_what_rq_stored_as_json(broker: Broker, client: redis.Redis, valkey: ValkeyServer) -> None:
    queue = Queue("mail", connection=client, serializer=JSONSerializer)
    queue.enqueue("shop.mail.send", 7, [1.5, None], order={"id": "ord_1", "paid": True}, job_id="one")
    before = dump(client)
    counts = counted(valkey, lambda: read_payload(broker, "one"))
    payload = read_payload(broker, "one")
    assert (payload.serializer, payload.task, payload.problem, payload.notes) == ("json", "shop.mail.send", "", [])
    assert values(payload) == {
        "args.0": "7",
        "args.1.0": "1.5",
        "args.1.1": "null",
        "kwargs.order.id": "ord_1",
        "kwargs.order.paid": "true",
    }
    assert json.loads(payload.text) == [
        "shop.mail.send",
        None,
        [7, [1.5, None]],
        {"order": {"id": "ord_1", "paid": True}},
    ]
    assert counts == {"hstrlen": 2, "hget": 1} and dump(client) == before


@pytest.mark.parametrize("protocol", range(6))
def test_what_a_pickle_of_every_protocol_holds(protocol: int) -> None:
    call = (
        "shop.mail.send",
        None,
        (7, -(2**70), 1.5, "tëxt", [1, (2, 3)], {"k": ()}, True, None),
        {"day": datetime.date(2026, 1, 2), "sum": decimal.Decimal("1.50"), "order": Order(9)},
    )
    payload = readable(zlib.compress(pickle.dumps(call, protocol=protocol)))
    assert (payload.serializer, payload.task, payload.notes) == ("pickle", "shop.mail.send", [])
    found = values(payload)
    assert [found[f"args.{n}"] for n in (0, 1, 2, 3, 6, 7)] == ["7", str(-(2**70)), "1.5", "tëxt", "True", "None"]
    assert (found["args.4.0"], found["args.4.1.1"]) == ("1", "3")
    assert found["kwargs.sum.0"] == "1.50" and found["kwargs.order.state.number"] == "9"
    foreign = {one.name for one in payload.foreign}
    assert {"datetime.date", "decimal.Decimal", f"{__name__}.Order"} <= foreign
    assert "builtins.object" not in foreign and "__builtin__.object" not in foreign
    assert payload.opcodes == len(list(pickletools.genops(pickle.dumps(call, protocol=protocol))))


def test_sets_bytes_and_shared_parts() -> None:
    shared = ["x"]
    call = ("f", None, (b"\x00\xff", bytearray(b"ab"), {1}, frozenset({2}), shared, shared, 1 + 2j), {})
    found = values(readable(zlib.compress(pickle.dumps(call, protocol=5))))
    assert (found["args.0"], found["args.2.0"], found["args.3.0"]) == (r"b'\x00\xff'", "1", "2")
    assert found["args.4.0"] == found["args.5.0"] == "x" and found["args.6.0"] == "1.0"
    ordered = values(readable(zlib.compress(pickle.dumps(("f", None, (collections.OrderedDict(a=1),), {})))))
    assert ordered["args.0.a"] == "1"


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_is_unpickled(broker: Broker, client: redis.Redis, tmp_path: Path, protocol: int) -> None:
    trap = tmp_path / "unpickled"
    packed = zlib.compress(pickle.dumps(("shop.f", Marker(str(trap)), (Marker(str(trap)),), {}), protocol=protocol))
    write_failed(client, "one", data=packed)
    payload = read_payload(broker, "one")
    assert any(one.name.endswith(".open") for one in payload.foreign), "it is told what loading would call"
    assert values(payload)["args.0.0"] == str(trap) and not trap.exists()
    pickle.loads(zlib.decompress(packed))
    assert trap.exists(), "the trap works"


def deep_json(depth: int) -> bytes:
    return b'["f",null,[' + b"[" * depth + b"]" * depth + b"],{}]"


def deep_pickle(depth: int) -> bytes:
    return b"\x80\x04" + b"]" * depth + b"a" * (depth - 1) + b"."


def laughs(levels: int) -> bytes:
    """Each list holds the one before ten times."""
    out = b"\x80\x04]\x94"
    for level in range(levels):
        out += b"](" + b"".join(b"h" + bytes([level]) for _ in range(10)) + b"e\x94"
    return out + b"."


def own_tail() -> bytes:
    """A list that holds itself, often."""
    return b"\x80\x04]\x94(" + b"h\x00" * 5000 + b"e."


def called_again_and_again() -> bytes:
    """A tuple of many, as the arguments of many calls: nothing may copy it each time."""
    return b"\x80\x04(" + b"K\x01" * 20_000 + b"t\x940(" + b"cbuiltins\nset\nh\x00R" * 7000 + b"l."


def named_again_and_again() -> bytes:
    """A long text, as the name of many imports."""
    return (
        b"\x80\x04X" + struct.pack("<I", 1_900_000) + b"x" * 1_900_000 + b"\x94(" + b"h\x00h\x00\x93" * 16_000 + b"l."
    )


STRANGE: dict[str, bytes] = {
    "empty pack": zlib.compress(b""),
    "cut pack": zlib.compress(b'["f",null,[1],{}]' * 500)[:-9],
    "zip bomb": zlib.compress(b"[" + b"0" * 20_000_000),
    "zip bomb of opcodes": zlib.compress(b"\x80\x04" + b"N" * 20_000_000),
    "1 MB text": zlib.compress(json.dumps(["f", None, ["x" * 1_000_000], {}]).encode()),
    "1 MB list": zlib.compress(json.dumps(["f", None, list(range(150_000)), {}]).encode()),
    "1 MB pickle": zlib.compress(pickle.dumps(("f", None, ("x" * 1_000_000, list(range(100_000))), {}))),
    "deep JSON": deep_json(900),
    "deeper JSON": deep_json(200_000),
    "deep pickle": deep_pickle(20_000),
    "laughs": laughs(200),
    "its own tail": own_tail(),
    "called again": called_again_and_again(),
    "named again": named_again_and_again(),
    "bidi": json.dumps(["f\u202e", None, ["\u202eevil\u2066", "\ud800"], {"\u202ename\n": "\x00\x1b[2J"}]).encode(),
    "bidi pickle": pickle.dumps(("f", None, ("\u202eevil", "\ud800"), {"\u202ename": "\u200bx"})),
    "HTML and SQL": json.dumps(
        ["f", None, ["<script>alert(1)</script>"], {"'; DROP TABLE x; --": "{{ 7*7 }}"}]
    ).encode(),
    "same name twice": b'["f",null,[],{"a":1,"a":2}]',
    "huge numbers": b'["f",null,[' + b"9" * 100_000 + b",1e999,NaN,-Infinity],{}]",
    "not UTF-8": b'["f",null,["\xff\xfe"],{}]',
    "not a call": b"[1,2,3,4]",
    "half JSON": b'["f",null,[1',
    "huge long": b"\x80\x04\x8b" + struct.pack("<i", 600_000) + b"\x7f" * 600_000 + b".",
    "long decimal": b"\x80\x04L" + b"9" * 50_000 + b"L\n.",
    "huge claim": b"\x80\x04\x8d" + b"\xff" * 8,
    "nothing on the stack": b"\x80\x04R.",
    "no mark": b"\x80\x04Nt.",
    "pops a mark": b"\x80\x04(0N.",
    "below its mark": b"\x80\x04N(0(K\x01R.",
    "wrong memo": b"\x80\x04h\x07.",
    "key without value": b"\x80\x04}(K\x01u.",
    "calls nothing": b"\x80\x04(o.",
    "unknown opcode": b"\x80\x04\xfe.",
    "never ends": b"\x80\x04K\x01K\x02",
    "names made up": b"\x80\x04\x8c\x02os}\x93)R.",
    "persistent": b"\x80\x04K\x01Q\x82\x07\x97\x98.",
    "old instance": b"(ios\nsystem\n.",
    "random": bytes(range(256)) * 20,
    "nul": b"\x00",
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_payloads_are_shown_as_far_as_they_go(name: str) -> None:
    payload = readable(STRANGE[name])
    assert bounded(payload) and payload.unpacked <= UNPACKED_LIMIT
    payload.task.encode()


def test_what_they_say() -> None:
    said = {name: readable(stored) for name, stored in STRANGE.items()}
    assert "longer than 2,000,000 bytes" in said["zip bomb"].notes[0]
    assert "longer than 2,000,000 bytes" in said["zip bomb of opcodes"].notes[0]
    assert "more than 50,000 opcodes" in said["zip bomb of opcodes"].notes[1]
    assert "the end of the packed bytes is missing" in said["cut pack"].notes[0]
    assert values(said["1 MB text"])["args.0"].endswith("… 998,000 more characters")
    assert "It holds more than is shown" in said["1 MB list"].notes[0]
    assert said["deeper JSON"].notes[0].startswith("It begins like JSON and cannot be read as such")
    assert values(said["bidi"]) == {
        "args.0": "⟨U+202E⟩evil⟨U+2066⟩",
        "args.1": "⟨U+D800⟩",
        "kwargs.⟨U+202E⟩name⟨U+000A⟩": "⟨U+0000⟩⟨U+001B⟩[2J",
    }
    assert [line.text for line in said["same name twice"].lines if line.path == "kwargs.a"] == ["1", "2"]
    assert values(said["huge numbers"])["args.1"] == "1e999"
    assert values(said["huge long"])["value"].startswith("a whole number of 4,79")
    assert values(said["never ends"]) == {"0": "1", "1": "2"}
    assert "damaged after 3 opcodes" in said["never ends"].notes[0]
    assert said["old instance"].foreign[0].name == "os.system"
    assert said["names made up"].foreign[0].name == "a name that is made up while it loads"
    assert (said["nul"].serializer, said["nul"].head) == ("unknown", "00")
    assert values(said["not a call"]) == {f"value.{n}": str(n + 1) for n in range(4)}


@given(st.binary(max_size=400), st.sampled_from([b"", b"\x80\x04", b"(", b"["]))
def test_any_bytes(raw: bytes, begin: bytes) -> None:
    assert bounded(readable(begin + raw))
    assert bounded(readable(zlib.compress(begin + raw)))


@given(
    st.lists(
        st.sampled_from([bytes([ord(op.code)]) if ord(op.code) < 256 else b"" for op in pickletools.opcodes]),
        max_size=60,
    ),
    st.binary(max_size=60),
)
def test_any_opcodes(codes: list[bytes], filler: bytes) -> None:
    tail = iter(filler)
    mixed = b"\x80\x04" + b"".join(code + bytes([next(tail, 1)]) for code in codes) + b"."
    assert bounded(readable(mixed))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_the_stack_ends_as_pickles_own(value: Any) -> None:
    """Whatever Python pickles is read to its end: no opcode of Python's own is misread."""
    for protocol in range(6):
        buffer = io.BytesIO()
        pickle.Pickler(buffer, protocol).dump(("f", None, (value,), {}))
        found = payload_pickle.disassemble(buffer.getvalue())
        assert found.problem == "" and found.root is not None and found.root.size == 4


def test_what_the_broker_may_hold_instead(broker: Broker, client: redis.Redis) -> None:
    assert "holds no payload" in read_payload(broker, "nobody").problem
    client.hset("rq:job:half", "status", "failed")
    assert "holds no payload" in read_payload(broker, "half").problem
    client.set("rq:job:text", "text")
    assert "something other than a job" in read_payload(broker, "text").problem
    write_failed(client, "big", data=b"\0" * (STORED_LIMIT + 1))
    assert "4,000,001 bytes; at most 4,000,000" in read_payload(broker, "big").problem
