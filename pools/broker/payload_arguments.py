"""Digests of named arguments in a payload of RQ's JSON serializer. Pickles are not looked into."""

import json
from collections.abc import Iterable
from typing import Any

from pools.arguments import VALUE_LIMIT, digest
from pools.broker.payload_reveal import unpacked


def argument_digests(payload: Any, paths: Iterable[str]) -> dict[str, bytes]:
    """By path; only of paths that lead to a text of at most ``VALUE_LIMIT`` characters, a number or a truth value.

    A name that stands twice counts as the worker reads it: the last one.
    """
    match _call(payload):
        case [_, _, list(args), dict(kwargs)]:
            texts = {path: _text(_at(path, args, kwargs)) for path in paths}
            return {path: digest(path, text) for path, text in texts.items() if text}
    return {}


def _call(payload: Any) -> Any:
    """Numbers come as they were written; None for what is no JSON."""
    raw, cut = unpacked(payload) if isinstance(payload, bytes) else (b"", "")
    if cut or not raw.startswith(b"["):
        return None
    try:
        return json.loads(raw.decode(), parse_int=str, parse_float=str, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None


def _at(path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """None where the path leads nowhere."""
    first, *inner = path.split(".")
    value = _inside(args if first.isdecimal() else kwargs, first)
    for name in inner:
        value = _inside(value, name)
    return value


def _inside(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list) and name.isascii() and name.isdecimal():
        return value[int(name)] if int(name) < len(value) else None
    return None


def _text(value: Any) -> str:
    """As a filter has it; "" for what is not indexed."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value.strip() if isinstance(value, str) else ""
    return text if len(text) <= VALUE_LIMIT else ""
