"""What changes from one spec to another: by field for the log and the summary, by line for the reader."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from pools.spec.schema import PoolSpec
from pools.spec.yaml_text import to_yaml

LISTS_OF_PARTS = ("retry", "policies", "cron", "breakers", "limits")


@dataclass(frozen=True)
class Change:
    """One field's change. ``before`` or ``after`` is None where the field does not exist; lists read "a, b"."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class DiffLine:
    """One line of text: kept (" "), added ("+") or removed ("-")."""

    kind: Literal[" ", "+", "-"]
    text: str


def diff(old: PoolSpec | None, new: PoolSpec) -> list[Change]:
    """The fields that differ, in the schema's order; all of them when there is no ``old``."""
    before = _flat("", old.as_dict()) if old else {}
    after = _flat("", new.as_dict())
    paths = list(after) + [path for path in before if path not in after]
    return [Change(path, before.get(path), after.get(path)) for path in paths if before.get(path) != after.get(path)]


def diff_lines(old: PoolSpec | None, new: PoolSpec) -> list[DiffLine]:
    """Every line of both YAML texts, unchanged ones included, removed before added."""
    return line_diff(to_yaml(old).splitlines() if old else [], to_yaml(new).splitlines())


def line_diff(before: list[str], after: list[str]) -> list[DiffLine]:
    lines: list[DiffLine] = []
    for operation, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if operation == "equal":
            lines += [DiffLine(" ", text) for text in after[j1:j2]]
        else:
            lines += [DiffLine("-", text) for text in before[i1:i2]]
            lines += [DiffLine("+", text) for text in after[j1:j2]]
    return lines


def _flat(path: str, value: Any) -> dict[str, str]:
    """Dotted path → text for every leaf; a list of plain values is one leaf, as its order matters as a whole."""
    if path in LISTS_OF_PARTS:
        value = dict(enumerate(value))
    if isinstance(value, dict):
        prefix = f"{path}." if path else ""
        return {p: t for key, inner in value.items() for p, t in _flat(f"{prefix}{key}", inner).items()}
    return {path: ", ".join(map(str, value)) if isinstance(value, list) else str(value)}
