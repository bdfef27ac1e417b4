"""One job's payload, read from the broker and made readable without loading it: for somebody to whom it is open."""

import zlib
from dataclasses import dataclass, field
from hashlib import sha256

from redis import ResponseError

from pools.broker import fields
from pools.broker.connection import Broker, BrokerUnavailable, get_broker
from pools.broker.payload import SERIALIZERS
from pools.broker.payload_json import json_tree
from pools.broker.payload_pickle import PLAIN, disassemble
from pools.broker.payload_tree import TASK, Line, Node, Outline, call_parts, visible
from pools.broker.pipelines import Pipelines

STORED_LIMIT = 4_000_000
UNPACKED_LIMIT = 2_000_000
"""Bytes that are looked at: a few kilobytes can hold gigabytes."""
HEAD_BYTES = 256


class Unreadable(Exception):
    """There is no payload to show; the message is a sentence."""


@dataclass(frozen=True)
class Import:
    """A dotted name that loading a pickle would import. ``plain``: one of Python's own types that only hold values."""

    name: str
    plain: bool


@dataclass
class Payload:
    """What can be shown. ``problem`` is a sentence when that is nothing, ``notes`` are sentences on what is missing.

    ``sha256`` is of the stored bytes. ``size`` and ``unpacked`` are bytes: as stored, and as looked at. ``text`` is a
    JSON payload as it stands, ``head`` the first bytes of an unknown one in hex, ``opcodes`` the number of those read
    of a pickle.
    """

    problem: str = ""
    serializer: str = ""
    sha256: str = ""
    size: int = 0
    unpacked: int = 0
    task: str = ""
    lines: list[Line] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    opcodes: int | None = None
    text: str = ""
    head: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def foreign(self) -> list[Import]:
        return [one for one in self.imports if not one.plain]


def revealed(alias: str, job_id: str) -> Payload:
    """The payload of a job on the broker of this name; when that is away, a problem."""
    try:
        return read_payload(get_broker(alias), job_id)
    except BrokerUnavailable as away:
        return Payload(problem=f"The payload cannot be read now: {away.why}.")


def read_payload(broker: Broker, job_id: str) -> Payload:
    """The payload of a job, in two round trips, whatever its key holds. Raises BrokerUnavailable."""
    try:
        return readable(stored_payload(broker, job_id))
    except Unreadable as nothing:
        return Payload(problem=str(nothing))


def stored_payload(broker: Broker, job_id: str) -> bytes:
    """From RQ's own key, or from the shelf when there is nothing. Raises Unreadable, BrokerUnavailable."""
    keys = (broker.rq.job(job_id), f"{broker.keys.shelf}:job:{job_id}")
    with broker.use() as client:
        pipelines = Pipelines(client)
        sizes = pipelines.run(("HSTRLEN", key, "data") for key in keys)
        key, size = next((found for found in zip(keys, sizes, strict=True) if found[1]), (keys[0], 0))
        if isinstance(size, ResponseError):
            raise Unreadable("The job's key on the broker holds something other than a job.")
        if fields.count(size) > STORED_LIMIT:
            raise Unreadable(f"The payload takes {size:,} bytes; at most {STORED_LIMIT:,} are read.")
        stored = pipelines.run([("HGET", key, "data")])[0]
    if not isinstance(stored, bytes) or not stored:
        raise Unreadable("The broker holds no payload of this job: it has expired, or was taken away.")
    return stored


def readable(stored: bytes) -> Payload:
    """What a stored payload holds, whoever wrote it."""
    raw, note = unpacked(stored)
    serializer = SERIALIZERS.get(raw[:1], "unknown")
    payload = Payload(
        serializer=serializer,
        sha256=sha256(stored).hexdigest(),
        size=len(stored),
        unpacked=len(raw),
        notes=[note] if note else [],
    )
    if payload.serializer == "json":
        _read_json(payload, raw)
    elif payload.serializer == "pickle":
        _read_pickle(payload, raw)
    else:
        payload.head = raw[:HEAD_BYTES].hex(" ")
    return payload


def unpacked(stored: bytes) -> tuple[bytes, str]:
    """The bytes that RQ packed, and a sentence when they are not all there. What is not packed stays as it is."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(stored, UNPACKED_LIMIT)
    except zlib.error:
        raw = b""
    if not raw and not unpacker.eof:
        return stored[:UNPACKED_LIMIT], ""
    if unpacker.unconsumed_tail or len(raw) == UNPACKED_LIMIT:
        return raw, f"It is longer than {UNPACKED_LIMIT:,} bytes when unpacked; only these were looked at."
    return raw, "" if unpacker.eof else "It is damaged: the end of the packed bytes is missing."


def _read_json(payload: Payload, raw: bytes) -> None:
    payload.text = raw.decode("utf-8", "replace")
    try:
        tree = json_tree(payload.text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        payload.notes.append(f"It begins like JSON and cannot be read as such: {why}.")
        tree = Node("text", payload.text)
    _outline(payload, tree)


def _read_pickle(payload: Payload, raw: bytes) -> None:
    found = disassemble(raw)
    payload.opcodes = found.opcodes
    payload.imports = [Import(visible(name), name in PLAIN) for name in found.imports]
    if found.root is None:
        payload.notes.append(f"Not all of it could be read: {found.problem}. What was seen stands in its order.")
        outline = Outline()
        for number, literal in enumerate(found.literals):
            outline.add(str(number), literal)
        _take(payload, outline)
    else:
        _outline(payload, found.root)


def _outline(payload: Payload, tree: Node) -> None:
    outline = Outline()
    for name, part in call_parts(tree):
        if name == TASK:
            payload.task = visible(part.text)
        else:
            outline.add(name, part)
    _take(payload, outline)


def _take(payload: Payload, outline: Outline) -> None:
    payload.lines = outline.lines
    if outline.cut:
        payload.notes.append("It holds more than is shown: long texts and lists are cut, and so is what lies deep.")
