"""What a job's payload tells without running any of it.

RQ stores ``(function, instance, args, kwargs)`` as zlib-compressed pickle or JSON. Unpickling runs code of whoever
wrote the payload, so only the opcodes are listed here, as ``pickletools`` does, up to the first text: the function.
"""

import json
import pickletools
import re
import zlib
from typing import Any

from pools.broker import fields

PAYLOAD_LIMIT = 256_000
PEEK_BYTES = 4096
PEEK_OPCODES = 12
FUNCTION_LIMIT = 500

SERIALIZERS = {b"\x80": "pickle", b"(": "pickle", b"[": "json"}
"""By the first byte of what RQ packs. Pickles of protocol 0 and 1 begin with a mark, a bracket."""

RQ_CALL = re.compile(r"^[^\W\d][\w.<>]*\(")
"""How RQ describes a call: a function's dotted name and a bracket."""
FUNCTION = re.compile(r"[^\W\d][\w.<>]*")


def called_function(description: Any, payload: Any = None) -> str:
    """The function a job calls, without arguments: from RQ's description, else from the payload, else "".

    A producer's own description is never shown: whatever it tells of the job may be an argument.
    """
    described = fields.text(description)
    if RQ_CALL.match(described):
        return described.partition("(")[0][:FUNCTION_LIMIT]
    return function_in(payload)


def function_in(payload: Any) -> str:
    """The function's name in a stored payload, or "" when it does not show."""
    head = _head(payload)
    if head.startswith(b"\x80"):
        found = _first_pickled_text(head)
    elif head.startswith(b"["):
        found = _first_json_text(head)
    else:
        return ""
    return found[:FUNCTION_LIMIT] if FUNCTION.fullmatch(found) else ""


def serializer_of(payload: Any) -> str:
    """``pickle``, ``json`` or "unknown", by the payload's first byte."""
    return SERIALIZERS.get(_head(payload)[:1], "unknown")


def _head(payload: Any) -> bytes:
    if not isinstance(payload, bytes):
        return b""
    try:
        return zlib.decompressobj().decompress(payload, PEEK_BYTES)
    except zlib.error:
        return payload[:PEEK_BYTES]


def _first_pickled_text(head: bytes) -> str:
    try:
        for seen, (_, argument, _) in enumerate(pickletools.genops(head)):
            if isinstance(argument, str):
                return argument
            if seen >= PEEK_OPCODES:
                break
    except (ValueError, IndexError, OverflowError):
        pass
    return ""


def _first_json_text(head: bytes) -> str:
    try:
        found, _ = json.JSONDecoder().raw_decode(head.decode("utf-8", "replace")[1:].lstrip())
    except (ValueError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
