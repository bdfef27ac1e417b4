"""Read Python's printed tracebacks, and the texts RQ stores where there was none, without trusting either.

The format is that of the standard library's ``traceback`` module: sections joined by a sentence when exceptions are
chained, the last section being what ended the job; frames indented, the exception's own line not; exception groups
framed with ``|`` and ``+``, which are taken off level by level. Pure: text in, dataclass out.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from pools.runtime.attempt_note import NOTE

MESSAGE_LIMIT = 1000
TYPE_LIMIT = 300
GROUP_DEPTH = 5
STACK_KNOWN = 8_000

CHAINED = "above exception"
CHAIN = re.compile(
    r"^(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):$",
    re.MULTILINE,
)
HEADER = "Traceback (most recent call last):"
GROUP_HEADER = f"Exception Group {HEADER}"
GROUP_FRAME = re.compile(r"^  (?:\| ?|\+ )?")
GROUP_START = "+-+--"
GROUP_NEXT = "  +--"
FRAME = re.compile(r'^  File "(?P<path>[^"\n]*)", line \d+(?:, in (?P<function>.+))?$', re.MULTILINE)
NOT_INDENTED = re.compile(r"^(?! )[^\S\n]*\S", re.MULTILINE)
EXCEPTION = re.compile(r"^(?P<type>[^\W\d][\w.<>]*)(?::(?: |$)(?P<message>.*))?$", re.DOTALL)
PLAIN_EXCEPTION = re.compile(
    r"^(?P<type>[^\W\d][\w.]*(?:Error|Exception|Warning|Exit|Interrupt|Refused)): (?P<message>.*)$", re.DOTALL
)

RQ_TEXTS = [
    ("Work-horse terminated unexpectedly", "WorkerLost"),
    ("Moved to FailedJobRegistry, due to AbandonedJobError", "AbandonedJobError"),
    ("Job was stuck in intermediate queue", "StuckInIntermediateQueue"),
    ("Job stopped by user", "JobStopped"),
]
"""How RQ 3.0's own texts begin where no exception was raised, and the type such a failure gets here."""


REFUSED = "poolwarden.JobRefused"
"""What workers of managed pools write, with the reason, into a job that they do not run."""


@dataclass(frozen=True)
class Frame:
    path: str
    function: str


@dataclass(frozen=True)
class Raised:
    """``exc_type`` as printed (dotted unless built in), or a name for RQ's own texts; "" when there is no telling.
    ``frames`` outermost first."""

    exc_type: str
    message: str
    frames: tuple[Frame, ...] = ()


def parse_traceback(printed: str) -> Raised:
    """What ended the job. Never raises; a text of no known form is all message."""
    return _parse(without_note(printed.replace("\r\n", "\n"))[1], GROUP_DEPTH)


def without_note(printed: str) -> tuple[str, str]:
    """What the pool's policy did about the failure ("": nothing to say), and the rest: the failure itself."""
    note, ends, rest = printed.partition("\n\n")
    return (note.removeprefix(NOTE), rest) if ends and note.startswith(NOTE) else ("", printed)


def _parse(printed: str, depth: int) -> Raised:
    section = (CHAIN.split(printed)[-1] if CHAINED in printed else printed).strip("\n")
    lines = section.split("\n")
    if lines[0] == f"  + {GROUP_HEADER}":
        lines = [GROUP_FRAME.sub("", line) for line in lines]
    if lines[0] == GROUP_HEADER and depth:
        return _group(lines[1:], depth)
    if HEADER in lines:
        return _section(lines[lines.index(HEADER) + 1 :])
    return _plain(section.strip()) if depth == GROUP_DEPTH else _named(section.strip(), ())


def _section(lines: list[str]) -> Raised:
    """Frames, source lines and markers are indented; the exception begins at the first line that is not."""
    printed = "\n".join(lines)
    own = NOT_INDENTED.search(printed)
    stack = printed[: own.start()] if own else printed
    frames = _known_frames(stack) if len(stack) <= STACK_KNOWN else _frames(stack)
    return _named(printed[len(stack) :].strip(), frames)


def _frames(stack: str) -> tuple[Frame, ...]:
    return tuple(Frame(found["path"], found["function"]) for found in FRAME.finditer(stack) if found["function"])


_known_frames = lru_cache(2000)(_frames)
"""A thousand failures of one cause differ in their message and not in where they happened."""


def _named(printed: str, frames: tuple[Frame, ...]) -> Raised:
    found = EXCEPTION.match(printed)
    if not found:
        return Raised("", printed[:MESSAGE_LIMIT], frames)
    exc_type = found["type"].replace("<locals>.", "")[:TYPE_LIMIT]
    return Raised(exc_type, (found["message"] or "").strip()[:MESSAGE_LIMIT], frames)


def _plain(printed: str) -> Raised:
    for beginning, exc_type in RQ_TEXTS:
        if printed.startswith(beginning):
            return Raised(exc_type, printed[:MESSAGE_LIMIT])
    found = PLAIN_EXCEPTION.match(printed)
    if found:
        return Raised(found["type"][:TYPE_LIMIT], found["message"][:MESSAGE_LIMIT])
    return Raised("", printed[:MESSAGE_LIMIT])


def _group(lines: list[str], depth: int) -> Raised:
    """The group, its message completed by the first exception in it: ``(2 sub-exceptions)`` alone tells no cause."""
    own = list(takewhile(lambda line: not line.startswith(GROUP_START), lines))
    inner = takewhile(lambda line: not line.startswith(GROUP_NEXT), lines[len(own) + 1 :])
    group = _section(own)
    first = _parse("\n".join(GROUP_FRAME.sub("", line) for line in inner), depth - 1)
    cause = ": ".join(part for part in (group.message, first.exc_type, first.message) if part)
    return Raised(group.exc_type, cause[:MESSAGE_LIMIT], first.frames or group.frames)
