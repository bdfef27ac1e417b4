"""A payload's values as text, in a tree of bounded size: the same for JSON and for disassembled pickles."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

LINE_LIMIT = 2000
DEPTH_LIMIT = 12
TEXT_LIMIT = 2000
NAME_LIMIT = 100
CHARACTER_LIMIT = 400_000
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of what cannot be seen, or changes how its neighbours are seen."""
KEPT = frozenset("\n\t")

TASK, INSTANCE, ARGS, KWARGS = "task", "instance", "args", "kwargs"
PARTS = (TASK, INSTANCE, ARGS, KWARGS)
"""What RQ stores of a call, in this order."""


@dataclass(eq=False)
class Node:
    """A value: ``kind`` in a word, ``text`` as it is shown, and what it holds, by name. ``items`` may be read once."""

    kind: str
    text: str = ""
    items: Iterable[tuple[str, "Node"]] = ()
    size: int = 0


@dataclass(frozen=True)
class Line:
    """One step through the tree: a ``leaf``, or the ``open`` and ``close`` of what holds others.

    ``path`` joins the names from the top with dots, such as ``kwargs.order.0``; ``type`` is the value's kind.
    """

    step: str
    name: str = ""
    path: str = ""
    type: str = ""
    text: str = ""


@dataclass
class Outline:
    """The lines of some trees; ``cut`` says that not all of them are there."""

    lines: list[Line] = field(default_factory=list)
    cut: bool = False
    characters: int = 0

    def add(self, name: str, node: Node, path: str = "", depth: int = 0) -> None:
        name = visible(name, NAME_LIMIT, keep=frozenset())
        path = f"{path}.{name}" if path else name
        too_deep = node.size > 0 and depth == DEPTH_LIMIT
        self.cut = self.cut or too_deep or len(node.text) > TEXT_LIMIT
        if not node.size or too_deep:
            text = f"{node.size:,} more, nested too deep to show" if too_deep else node.text
            self._line("leaf", name, path, node.kind, text)
            return
        self._line("open", name, path, node.kind, node.text or f"{node.size:,} value{'s' * (node.size != 1)}")
        for name_inside, inside in node.items:
            if len(self.lines) >= LINE_LIMIT or self.characters >= CHARACTER_LIMIT:
                self.cut = True
                break
            self.add(name_inside, inside, path, depth + 1)
        self.lines.append(Line("close"))

    def _line(self, step: str, name: str, path: str, kind: str, text: str) -> None:
        line = Line(step, name, path, kind, visible(text))
        self.characters += len(path) + len(line.text)
        self.lines.append(line)


def visible(text: str, limit: int = TEXT_LIMIT, keep: frozenset[str] = KEPT) -> str:
    """At most ``limit`` characters of the text, with every character spelt out that nobody would see: ``⟨U+202E⟩``."""
    shown = "".join(
        f"⟨U+{ord(character):04X}⟩"
        if unicodedata.category(character) in HIDDEN and character not in keep
        else character
        for character in text[:limit]
    )
    left = len(text) - limit
    return f"{shown}… {left:,} more characters" if left > 0 else shown


def call_parts(node: Node) -> list[tuple[str, Node]]:
    """The parts of a call as RQ stores it, by name, without an instance that is not there; or the value as it is."""
    items = list(node.items) if node.kind in ("list", "tuple") and node.size == len(PARTS) else []
    if not items or items[0][1].kind != "text":
        return [("value", Node(node.kind, node.text, items or node.items, node.size))]
    named = [(name, part) for name, (_, part) in zip(PARTS, items, strict=True)]
    return [(name, part) for name, part in named if name != INSTANCE or part.text not in ("null", "None")]
