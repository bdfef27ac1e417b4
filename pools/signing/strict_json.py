"""JSON that has one meaning: RFC 8259 read without its freedoms, RFC 8785 written from NFC text.

Values are objects, lists, strings and whole numbers of less than 2⁵³. true, false and null are left out as well: 1 and
true, or "absent" and null, must not be two ways to write one config.
"""

import json
import unicodedata
from typing import Any, NoReturn

import rfc8785


def parse(raw: bytes) -> Any:
    """Read UTF-8 JSON. Raises ValueError for anything else, a repeated key, a float, NaN, or too deep nesting."""
    try:
        return json.loads(
            raw.decode("utf-8"), object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def canonical(value: Any) -> bytes:
    """The RFC 8785 bytes of ``value``, every string in NFC. Raises ValueError for a value outside the subset above."""
    try:
        return rfc8785.dumps(_nfc(value))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("it has a repeated key")
    return result


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"it holds {text[:40]}, which is not a whole number")


def _nfc(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [_nfc(item) for item in value]
    if isinstance(value, dict):
        return _object([(_nfc(key), _nfc(item)) for key, item in value.items()])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"it holds a {type(value).__name__}; only objects, lists, text and whole numbers are signed")
