"""Which task a payload calls, and with what, read without loading any of it."""

import json
import pickletools
import zlib
from typing import Any

from pools.broker.payload_pickle import disassemble
from pools.broker.payload_tree import Node

PEEK_BYTES = 4096
# Of a pickled call, before the task's name; and what may stand between it and the next element.
_BEFORE = frozenset({"PROTO", "FRAME", "MARK"})
_REMEMBER = frozenset({"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"})
_REMOVE = frozenset({"POP", "POP_MARK"})
# Of an argument's value, where a limit counts by it; and of a payload in which it is looked for.
LONGEST_VALUE, LARGEST_PAYLOAD = 200, 1_000_000


def task_name(data: bytes) -> str:
    """The task's dotted name in what RQ stores as ``data``; "" when it does not show."""
    head = _unpacked(data, PEEK_BYTES)
    return _clean(_json_name(head) if head.startswith(b"[") else _pickled_name(head))


def argument(data: bytes, path: str) -> str:
    """What the call is given at ``path``: a keyword or a place, then names and places inside it, with dots between.

    Text and numbers as text, at most ``LONGEST_VALUE`` characters; "" for all else, and where nothing is.
    """
    try:
        value = _found(data, path)
    except ValueError:
        return ""
    if isinstance(value, Node):
        value = value.text if value.kind in ("text", "number", "word") else None
    return _clean(str(value)[:LONGEST_VALUE]) if isinstance(value, str | int | float) else ""


def key_value(data: bytes, path: str) -> str:
    """The text or number at ``path``, as ``argument`` finds it, but whole; "" for all else, and where nothing is.

    Raises ValueError when the payload cannot be read, or not to its end.
    """
    value = _found(data, path)
    if isinstance(value, Node):
        value = value.text if value.kind in ("text", "number") else None
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _found(data: bytes, path: str) -> Any:
    """The JSON value, or part of a disassembled pickle, at ``path``. Raises ValueError."""
    raw = _unpacked(data, LARGEST_PAYLOAD + 1)
    if len(raw) > LARGEST_PAYLOAD:
        raise ValueError(f"the payload takes more than {LARGEST_PAYLOAD:,} bytes")
    if raw.startswith(b"["):
        try:
            value: Any = json.loads(raw)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    else:
        found = disassemble(raw)
        if found.root is None:
            raise ValueError(found.problem)
        value = found.root
    names = path.split(".")
    for name in ("2" if names[0].isdecimal() else "3", *names):
        value = _inside(value, name)
    return value


def _inside(value: Any, name: str) -> Any:
    """One step into JSON values or a disassembled pickle; nothing else of it is looked at."""
    if isinstance(value, Node):
        return dict(value.items).get(name) if value.kind in ("dict", "list", "tuple") else None
    if isinstance(value, list):
        return value[int(name)] if name.isdecimal() and int(name) < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


def _clean(text: str) -> str:
    """Half a surrogate pair, which JSON can spell, cannot be stored."""
    return text.encode(errors="replace").decode()


def _unpacked(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return data[:most]


def _json_name(head: bytes) -> str:
    try:
        found, _ = json.JSONDecoder().raw_decode(head.decode(errors="replace")[1:].lstrip())
    except (ValueError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""


def _pickled_name(head: bytes) -> str:
    """A pickled call is a tuple whose first element is the name."""
    name = ""
    try:
        for opcode, argument, _ in pickletools.genops(head):
            if not name and isinstance(argument, str):
                name = argument
            elif not name and opcode.name not in _BEFORE:
                return ""
            elif name and opcode.name not in _REMEMBER:
                return "" if opcode.name in _REMOVE else name
    except (ValueError, IndexError, OverflowError):
        pass
    return ""
