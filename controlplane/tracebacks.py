"""Reads a Python traceback as text, for display: whose frame is it, the application's or a library's?"""

import re
from dataclasses import dataclass, field

_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?$')
_LIBRARY = re.compile(r"(^<frozen |/site-packages/|/dist-packages/|/lib(?:64)?/python3(?:\.\d+)?/)")
_CHAIN = ("During handling of the above exception", "The above exception was the direct cause")
_MARKERS = re.compile(r"^[\s~^]+$")
_SHORTEN = re.compile(r"^.*(?:/site-packages/|/dist-packages/|/lib(?:64)?/python3(?:\.\d+)?/)")


@dataclass
class Frame:
    """One frame. ``path`` is shortened to what follows the library folder."""

    path: str
    line: int
    name: str
    source: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.name}"


@dataclass
class Block:
    """A run of frames of one kind (``app`` or ``lib``), or lines that are no frames (``text``, ``err``)."""

    kind: str
    frames: list[Frame] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def parse_traceback(text: str) -> list[Block]:
    """Blocks in the order of the text; anything that is not a frame is kept word for word."""
    blocks: list[Block] = []
    for line in text.splitlines():
        if match := _FRAME.match(line):
            _add_frame(blocks, match["path"], int(match["line"]), match["name"] or "<module>")
        elif line.startswith("  ") and blocks and blocks[-1].frames:
            if not _MARKERS.match(line):
                blocks[-1].frames[-1].source.append(line.removeprefix("  ").removeprefix("  "))
        elif line.strip():
            _add_line(blocks, line)
    return blocks


def _add_frame(blocks: list[Block], path: str, line: int, name: str) -> None:
    kind = "lib" if _LIBRARY.search(path) else "app"
    if not blocks or blocks[-1].kind != kind:
        blocks.append(Block(kind))
    blocks[-1].frames.append(Frame(_SHORTEN.sub("", path), line, name))


def _add_line(blocks: list[Block], line: str) -> None:
    """The line after the frames is the error; the heading "Traceback (most recent call last):" says nothing new."""
    if line.startswith("Traceback (most recent call last)"):
        return
    follows = bool(blocks) and (bool(blocks[-1].frames) or blocks[-1].kind == "err")
    kind = "err" if follows and not line.startswith(_CHAIN) else "text"
    if not blocks or blocks[-1].kind != kind:
        blocks.append(Block(kind))
    blocks[-1].lines.append(line)
