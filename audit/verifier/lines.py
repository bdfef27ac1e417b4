"""A bundle's lines: reading them one by one, and what is in those that both kinds of bundle have."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, Protocol

from audit.merkle import HASH_SIZE

LINE_LIMIT = 8 * 1024 * 1024


class Stream(Protocol):
    """A binary file open for reading."""

    def readline(self, size: int, /) -> bytes: ...


class Bad(Exception):
    """What is wrong, as a sentence. The first bad index lies from ``first`` to ``last``; None when it is no event."""

    def __init__(self, sentence: str, first: int | None = None, last: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.first = first
        self.last = first if last is None else max(last, first or 0)


class Lines(Iterator[bytes]):
    """The lines with their line ends. ``events`` counts the events so far; in a ``gapless`` bundle it is also the index
    of the next."""

    def __init__(self, stream: Stream) -> None:
        self.number = 0
        self.events = 0
        self.gapless = False
        self._digest = hashlib.sha256()
        self._stream = stream
        self._line = b""

    def __next__(self) -> bytes:
        """The next line. Raises Bad at the file's end: a bundle has a last line, and nobody reads past it."""
        self._digest.update(self._line)
        self._line = line = self._stream.readline(LINE_LIMIT)
        self.number += 1
        if not line.endswith(b"\n"):
            self._refuse_end()
        return line

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of every byte before the line in hand."""
        return self._digest.hexdigest()

    def check_end(self) -> None:
        if self._stream.readline(1):
            raise Bad(f"Something follows the last line, number {self.number}.")

    def refuse(self, why: str) -> NoReturn:
        raise Bad(f"Line {self.number} {why}.")

    def _refuse_end(self) -> NoReturn:
        if len(self._line) == LINE_LIMIT:
            self.refuse("is too long")
        sentence = f"The file is cut short: it ends in line {self.number}, after {self.events:,} events."
        raise Bad(sentence, self.events if self.gapless else None)


def object_in(line: bytes, kind: bytes, types: Mapping[str, type]) -> dict[str, Any]:
    """The JSON object of a line, with exactly these fields. Raises Bad."""
    try:
        found = json.loads(line[2:], object_pairs_hook=_once) if line[:2] == kind else None
    except (ValueError, RecursionError):
        found = None
    if (
        not isinstance(found, dict)
        or found.keys() != types.keys()
        or any(type(found[name]) is not types[name] for name in types)
    ):
        raise Bad(f"A line {kind.decode().strip()} with {', '.join(types)} should stand here: {line[:60]!r}.")
    return found


def hashes_in(line: bytes, kind: bytes, name: str) -> tuple[int, list[bytes]]:
    """The number under ``name`` and the proof's hashes of an I or K line. Raises Bad."""
    found = object_in(line, kind, {name: int, "proof": list})
    try:
        if not set(map(len, found["proof"])) <= {2 * HASH_SIZE}:
            raise ValueError
        return int(found[name]), list(map(bytes.fromhex, found["proof"]))
    except (TypeError, ValueError):
        raise Bad(f"A proof is a list of hashes of {HASH_SIZE} bytes in hex: {line[:60]!r}.") from None


def other(lines: Lines, line: bytes, leaf: bytes, index: int) -> None:
    """A disclosed value of the event ``leaf`` (its whole line), or a gap; else refuse. Raises Bad."""
    if line[:2] == b"P " and leaf:
        _check_personal(line, leaf, index)
    elif line[:2] == b"X ":
        _refuse_gap(line)
    else:
        lines.refuse(f"has no place here: it begins with {line[:2]!r}")


def _check_personal(line: bytes, leaf: bytes, index: int) -> None:
    shown = object_in(line, b"P ", {"field": str, "salt": str, "value": str})
    try:
        committed = json.loads(leaf[2:])["personal"][shown["field"]]
        opened = hashlib.sha256(bytes.fromhex(shown["salt"]) + shown["value"].encode()).hexdigest()
    except (KeyError, TypeError, ValueError, RecursionError):
        committed, opened = "", "-"
    if committed != opened:
        raise Bad(f"The {shown['field']!r} that is shown for event {index} is not what was recorded.", index)


def _refuse_gap(line: bytes) -> NoReturn:
    gap = object_in(line, b"X ", {"from": int, "reason": str, "to": int})
    first, last = gap["from"], gap["to"]
    if gap["reason"] == "missing":
        which = f"Event {first} was" if first == last else f"Events {first} to {last} were"
        raise Bad(f"{which} missing from the log when it was exported.", first)
    raise Bad(f"Event {first} could not be exported: {gap['reason']}. It is not what was recorded.", first)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
