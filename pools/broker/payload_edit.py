"""A JSON payload that a person edits: read, taken apart and put together again as RQ's own serializer does.

The function and the instance stay as they are; only the arguments change.
"""

import json
import unicodedata
import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NoReturn

from pools.broker.connection import BrokerUnavailable, get_broker
from pools.broker.payload_reveal import Unreadable, stored_payload, unpacked
from pools.broker.payload_tree import HIDDEN, PARTS, visible

EDIT_LIMIT = 256_000
"""Bytes, unpacked, of what a page can show for editing."""
DEPTH_LIMIT = 50
PATHS_SHOWN = 50
PATH_LIMIT = 200
TOO_DEEP = f"It is nested more than {DEPTH_LIMIT} deep."
PICKLED = (
    "It is a pickle. To change a value in it, it would have to be loaded, which runs code of whoever wrote it; "
    "the console never does. Only payloads of RQ's JSON serializer can be edited."
)


@dataclass(frozen=True)
class Editable:
    """A payload as it is stored (``sha256`` of the bytes), its text, and the call: ``args`` and ``kwargs`` as JSON."""

    sha256: str
    text: str
    func: str
    instance: Any
    args: list[Any]
    kwargs: dict[str, Any]

    def with_arguments(self, args: list[Any], kwargs: dict[str, Any]) -> str:
        """The text of the same call with other arguments, as RQ writes it."""
        return json.dumps([self.func, self.instance, args, kwargs])


def read_editable(alias: str, job_id: str) -> Editable:
    """The payload of a job. Raises Unreadable with a sentence when it cannot be edited, or not be read now."""
    try:
        return editable(stored_payload(get_broker(alias), job_id))
    except BrokerUnavailable as away:
        raise Unreadable(f"The payload cannot be read now: {away.why}.") from away


def editable(stored: bytes) -> Editable:
    """Raises Unreadable."""
    raw, note = unpacked(stored)
    if raw[:1] in (b"\x80", b"("):
        raise Unreadable(PICKLED)
    if note or len(raw) > EDIT_LIMIT:
        raise Unreadable(note or f"It has {len(raw):,} bytes; at most {EDIT_LIMIT:,} can be edited.")
    try:
        text = raw.decode()
        call = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable("It is not JSON: only payloads of RQ's JSON serializer can be edited.") from error
    if not isinstance(call, list) or len(call) != len(PARTS):
        raise Unreadable("It is JSON, but no call as RQ writes it.")
    func, instance, args, kwargs = call
    if not is_flat(call):
        raise Unreadable(TOO_DEEP)
    if not (isinstance(func, str) and isinstance(args, list) and isinstance(kwargs, dict)):
        raise Unreadable("It is JSON, but no call as RQ writes it.")
    return Editable(sha256(stored).hexdigest(), text, func, instance, args, kwargs)


def packed(text: str) -> bytes:
    """As RQ stores it."""
    return zlib.compress(text.encode())


def strict_json(text: str) -> Any:
    """What a person typed. Raises ValueError with a sentence."""
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        raise ValueError(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    if not is_flat(value):
        raise ValueError(TOO_DEEP)
    return value


def is_flat(value: Any, left: int = DEPTH_LIMIT) -> bool:
    """Whether it is nested no deeper than a page and we can follow."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return left > 0 and all(is_flat(item, left - 1) for item in inside)


def pretty(value: Any) -> str:
    """JSON to be read and edited: what nobody would see is spelt as an escape."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    hidden = {c for c in text if c != "\n" and unicodedata.category(c) in HIDDEN}
    return text.translate({ord(c): json.dumps(c)[1:-1] for c in hidden})


def changed_paths(before: Editable, args: list[Any], kwargs: dict[str, Any]) -> list[str]:
    """Where values differ, such as ``kwargs.order.0``, at most ``PATHS_SHOWN``; never the values."""
    old = _leaves("args", before.args) | _leaves("kwargs", before.kwargs)
    new = _leaves("args", args) | _leaves("kwargs", kwargs)
    paths = [path for path in old | new if old.get(path) != new.get(path)]
    return [path[:PATH_LIMIT] for path in paths[:PATHS_SHOWN]]


def _leaves(path: str, value: Any) -> dict[str, str]:
    """Path → text of every single value. An empty list or object is one."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found: dict[str, str] = {}
    for name, item in inside:
        found |= _leaves(f"{path}.{visible(str(name))}", item)
    return found or {path: json.dumps(value)}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON.")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("A name stands twice in one object.")
    return found
