"""A JSON payload as a tree. Numbers stay as they were written, and a name that stands twice is shown twice."""

import json
from collections.abc import Iterator
from typing import Any

from pools.broker.payload_tree import Node


class _Number(str):
    """As written: 17, 1.50, 1e999, NaN."""


class _Members(list[tuple[str, Any]]):
    """What stands between braces, in order."""


def json_tree(text: str) -> Node:
    """Raises ValueError for what is not JSON, RecursionError for what is nested too deep to be read."""
    found = json.loads(text, object_pairs_hook=_Members, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
    return _node(found)


def _node(value: Any) -> Node:
    match value:
        case _Members():
            return Node("object", items=_inside(value), size=len(value))
        case list():
            return Node("list", items=_inside([(str(n), item) for n, item in enumerate(value)]), size=len(value))
        case _Number():
            return Node("number", str(value))
        case str():
            return Node("text", value)
    return Node("word", {True: "true", False: "false", None: "null"}[value])


def _inside(pairs: list[tuple[str, Any]]) -> Iterator[tuple[str, Node]]:
    """One after the other, as far as somebody looks."""
    return ((name, _node(item)) for name, item in pairs)
