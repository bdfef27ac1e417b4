"""The shape of a call's arguments, every value behind a mask, from how RQ describes the call.

RQ writes ``function(repr, …, name=repr, …)`` and cuts each ``repr`` after 75 characters, so quotes and brackets may
stay open. What does not read as exactly that is masked as a whole: no part of a value may pass for a name.
"""

import re
from typing import Any

from pools.broker import fields
from pools.broker.payload import RQ_CALL

MASK = "•" * 8
ELLIPSIS = "…"
REPR_LIMIT = 75
CUT = "..."
SHOWN_LIMIT = 25
SHAPE_LIMIT = 300
NAME = re.compile(r"([^\W\d]\w{0,39})=")
PLAIN = re.compile(r"(?:'[^'\\]{0,70}'|\"[^\"\\]{0,70}\"|[\w.+-]{1,70})(?=[,)])")
"""A text or a number with nothing in it that needs a closer look: most values."""
CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}


def masked_arguments(description: Any) -> str:
    """``(••••••••, order=••••••••)``; ``…`` stands for what cannot be told. "" for what is not RQ's description."""
    text = fields.text(description)
    found = RQ_CALL.match(text)
    if not found:
        return ""
    shown: list[str] = []
    names_begun, at = False, found.end()
    if text[at:] == ")":
        return "()"
    while True:
        name = NAME.match(text, at)
        end = _value_end(text, name.end() if name else at)
        if end is None or (names_begun and not name):
            return _joined([*shown, ELLIPSIS])
        names_begun = name is not None
        shown.append(f"{name[1]}={MASK}" if name else MASK)
        if text[end:] == ")":
            return _joined(shown)
        if len(shown) == SHOWN_LIMIT or not text.startswith(", ", end):
            return _joined([*shown, ELLIPSIS])
        at = end + len(", ")


def _joined(shown: list[str]) -> str:
    while len(", ".join(shown)) > SHAPE_LIMIT - 2:
        shown = [*shown[:-2], ELLIPSIS]
    return f"({', '.join(shown)})"


def _value_end(text: str, start: int) -> int | None:
    """Where the ``repr`` that begins at ``start`` ends; None when that cannot be told."""
    if plain := PLAIN.match(text, start):
        return plain.end()
    return _looked_through(text, start)


def _looked_through(text: str, start: int) -> int | None:
    expected: list[str] = []
    quote, at = "", start
    while at < len(text) and at - start < REPR_LIMIT:
        character = text[at]
        if quote:
            at += character == "\\"
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in CLOSING:
            expected.append(CLOSING[character])
        elif expected and character == expected[-1]:
            expected.pop()
        elif not expected and character in ",)":
            return at if at > start else None
        at += 1
    if text.startswith(CUT, start + REPR_LIMIT):
        return start + REPR_LIMIT + len(CUT)
    whole = at == start + REPR_LIMIT and not quote and not expected and text[at : at + 1] in (",", ")")
    return at if whole else None
