"""One cause, one digest: what is the same about failures that differ only in their data.

A fingerprint is made of the function, the exception's type, its message with the data taken out, and the innermost
frame of the application itself. Line numbers stay out (a deploy moves them), so do library frames (an upgrade moves
those) and the way the application got there. Pure. Changing any rule means a new ``VERSION``.
"""

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

from pools.broker.tracebacks import Frame

VERSION = 1
TITLE_LIMIT = 200
MESSAGE_LIMIT = 300
GAP = "…"

QUOTED = r"'(?:[^'\\\n]|\\.){0,500}'|\"(?:[^\"\\\n]|\\.){0,500}\"|`[^`\n]{0,500}`"
RULES = [
    (re.compile(r"<(?P<what>[\w.]+)(?: object)? at 0x[0-9a-fA-F]+>"), r"<\g<what>>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\b"), GAP),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), GAP),
    (re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"), GAP),
    (re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://[^\s/?#'\"]*)[^\s'\")]*"), r"\g<scheme>/" + GAP),
    (re.compile(r"(?<![\w./])(?:[A-Za-z]:\\|~?/(?!/)|\.{1,2}/)[^\s'\":;,)\]}]+"), GAP),
    (re.compile(r"\b[A-Za-z0-9_-]*[0-9a-fA-F]{12,}\b"), GAP),
    (re.compile(r"\b(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{6,}\b"), GAP),
    (re.compile(r"\d+(?:[.,:]\d+)*"), GAP),
    (re.compile(rf"{GAP}(?:[-.,:_ ]?{GAP})+"), GAP),
    (re.compile(r"\s+"), " "),
]
"""In order: objects and addresses, UUIDs, hexadecimal, mail addresses, the paths of URLs, paths, long and short
hexadecimal ids, numbers; then runs of gaps and of white space."""

CODE_TYPES = {"AttributeError", "NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "TypeError"}
"""Their quoted words are names in the code, not data: another name is another fault."""
NAME = re.compile(r"['\"][^\W\d][\w.]{0,100}['\"]")

NO_PLACE = {"JobTimeoutException", "WorkerLost", "AbandonedJobError", "JobStopped", "MemoryError", "RecursionError"}
"""Where they strike is chance, so the frame says nothing about the cause."""
LIBRARY = re.compile(r"[/\\](?:site-packages|dist-packages|lib[/\\]python\d|Lib[/\\])|^<")


class Fingerprint(NamedTuple):
    """``digest`` is 64 hexadecimal digits; ``title`` one line of at most 200 characters."""

    version: int
    digest: str
    title: str


def fingerprint(func: str, exc_type: str, message: str, frames: tuple[Frame, ...]) -> Fingerprint:
    """The cause of a failure, the same for every failure that differs only in its data. ``frames`` outermost first."""
    short = exc_type.rpartition(".")[2]
    cause = normalised(message, keep_names=short in CODE_TYPES)
    frame = None if short in NO_PLACE else _innermost(frames)
    place = f"{_module(frame.path)}:{frame.function}" if frame else ""
    parts = "\0".join((str(VERSION), func, exc_type, cause, place))
    digest = hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()
    title = " ".join(": ".join(part for part in (short, cause) if part).split()) or "No message"
    return Fingerprint(VERSION, digest, title if len(title) <= TITLE_LIMIT else title[: TITLE_LIMIT - 1] + GAP)


@lru_cache(4000)
def normalised(message: str, *, keep_names: bool = False) -> str:
    """The message in one line without its data: numbers, ids, quoted values, addresses and paths become gaps."""
    line = re.sub(QUOTED, lambda found: _quoted(found[0], keep_names), message[:2000])
    for pattern, replacement in RULES:
        line = pattern.sub(replacement, line)
    return line.strip()[:MESSAGE_LIMIT]


def _quoted(value: str, keep_names: bool) -> str:
    if keep_names and NAME.fullmatch(value):
        return value
    return f"{value[0]}{GAP}{value[-1]}"


def _innermost(frames: tuple[Frame, ...]) -> Frame | None:
    return next((frame for frame in reversed(frames) if not LIBRARY.search(frame.path)), None)


def _module(path: str) -> str:
    """The file's last two parts: where a release lies on a host is not part of the cause."""
    return "/".join(re.split(r"[/\\]", path)[-2:])
