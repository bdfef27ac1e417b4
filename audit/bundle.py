"""Writing a bundle: the log, or a part of it, as one file that anyone verifies offline. Format: ``docs/bundle.md``.

Streams: nothing is kept but the leaf in hand. What the tables should hold and do not is written down as a gap, so that
the verifier names it. Pure: bytes in, bytes out.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

FORMAT = b"poolwarden.bundle/1"
LOG = "log"
PART = "part"
HINT_SIZE = 4
"""Bytes of a stored leaf hash that go into a hint: enough to find a changed event, never used to prove one."""
HINTS = 256
CHECKPOINTS = 1000


class BundleError(ValueError):
    """A bundle cannot be written from what was given."""


class Out(Protocol):
    """A binary file open for writing."""

    def write(self, content: bytes, /) -> object: ...


class Disclosed(NamedTuple):
    """A personal value and the salt (32 bytes) that open the commitment in its event."""

    field: str
    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """An event as the log keeps it: its index, its exact bytes, and the leaf hash that is stored beside them.

    ``personal`` is what the bundle shall disclose of it.
    """

    index: int
    leaf: bytes
    hash: bytes
    personal: Sequence[Disclosed] = ()


class SizedNote(NamedTuple):
    """A checkpoint's size and note. The note may carry cosignatures: their lines stand after the log's own."""

    size: int
    note: bytes


@dataclass(frozen=True)
class Written:
    """What became of it: the number of events, the file's size, the SHA-256 (hex) of the whole file."""

    events: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class About:
    """A bundle's head: the log's origin, its verifier key, and when the bundle was made. None of it proves anything."""

    origin: str
    key: str
    created_at: datetime


def thinned(sizes: Sequence[int], keep: int = CHECKPOINTS) -> list[int]:
    """At most ``keep`` of the checkpoints' sizes (ascending), evenly spread, the newest always among them."""
    if len(sizes) <= keep:
        return list(sizes)
    step = len(sizes) / keep
    return [sizes[int((at + 1) * step) - 1] for at in range(keep - 1)] + [sizes[-1]]


def write_log(out: Out, about: About, checkpoints: Iterable[SizedNote], leaves: Iterable[StoredLeaf]) -> Written:
    """Write the whole log up to the largest of ``checkpoints``.

    ``leaves`` ascend from index 0; those that are missing become gaps, those beyond the largest checkpoint are left
    out. Raises BundleError without a checkpoint.
    """
    notes = dict(checkpoints)
    size = max(notes, default=0)
    if not size:
        raise BundleError("There is no checkpoint yet, and without one a bundle proves nothing.")
    lines = _Lines(out)
    lines.head(about, LOG, size, {})
    for leaf in leaves:
        if leaf.index >= size:
            break
        lines.gap_to(leaf.index)
        lines.leaf(leaf)
        lines.hint(leaf.hash)
        if note := notes.get(lines.place):
            lines.checkpoint(note)
    if lines.place < size:
        lines.gap_to(size)
        lines.checkpoint(notes[size])
    return lines.end()


def write_part(
    out: Out,
    about: About,
    checkpoint: SizedNote,
    events: Iterable[tuple[StoredLeaf, Sequence[bytes]]],
    *,
    filters: Mapping[str, str],
    consistency: Iterable[tuple[int, Sequence[bytes]]] = (),
) -> Written:
    """Write some events, each with its inclusion proof (hashes of 32 bytes) in the tree of ``checkpoint``.

    ``events`` ascend by index. ``filters`` say how they were chosen. ``consistency`` are (older size, proof) pairs,
    ascending: with them a reader who holds the checkpoint of that size can tell that the log only grew since.
    """
    lines = _Lines(out)
    lines.head(about, PART, checkpoint.size, filters)
    lines.checkpoint(checkpoint.note)
    for old, proof in consistency:
        lines.json(b"K", {"from": old, "proof": [hashed.hex() for hashed in proof]})
    for leaf, proof in events:
        lines.json(b"I", {"index": leaf.index, "proof": [hashed.hex() for hashed in proof]})
        lines.leaf(leaf)
    return lines.end()


class _Lines:
    """Writes lines and keeps the file's digest. ``place`` is the index that comes next."""

    def __init__(self, out: Out) -> None:
        self.place = 0
        self._out = out
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._events = 0
        self._hints: list[str] = []

    def head(self, about: About, kind: str, size: int, filters: Mapping[str, str]) -> None:
        self._line(b"B", FORMAT)
        made = about.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        named = {"origin": about.origin, "key": about.key, "created_at": made}
        self.json(b"H", {"kind": kind, "size": size, "filters": dict(filters), **named})

    def leaf(self, leaf: StoredLeaf) -> None:
        """The event's line, and what is disclosed of it. A leaf with a line break is no event: the recorder writes
        none, so it was put there later; a gap says so."""
        if leaf.index < self.place:
            raise BundleError(f"Event {leaf.index} comes after event {self.place - 1}.")
        self.place = leaf.index + 1
        if b"\n" in leaf.leaf:
            self.gap(leaf.index, leaf.index, "unreadable")
            return
        self._line(b"L", leaf.leaf)
        self._events += 1
        for shown in leaf.personal:
            self.json(b"P", {"field": shown.field, "salt": shown.salt.hex(), "value": shown.value})

    def hint(self, stored: bytes) -> None:
        self._hints.append(stored[:HINT_SIZE].hex().ljust(2 * HINT_SIZE, "0"))
        if len(self._hints) == HINTS:
            self._flush_hints()

    def checkpoint(self, note: bytes) -> None:
        self._flush_hints()
        self.json(b"C", note.decode(errors="replace"))

    def gap_to(self, index: int) -> None:
        if index > self.place:
            self._flush_hints()
            self.gap(self.place, index - 1, "missing")
            self.place = index

    def gap(self, first: int, last: int, reason: str) -> None:
        self.json(b"X", {"from": first, "to": last, "reason": reason})

    def end(self) -> Written:
        self.json(b"E", {"events": self._events, "sha256": self._digest.hexdigest()})
        return Written(self._events, self._bytes, self._digest.hexdigest())

    def json(self, kind: bytes, value: Any) -> None:
        self._line(kind, json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode())

    def _line(self, kind: bytes, content: bytes) -> None:
        line = b"%s %s\n" % (kind, content)
        self._digest.update(line)
        self._bytes += len(line)
        self._out.write(line)

    def _flush_hints(self) -> None:
        if self._hints:
            self._line(b"N", "".join(self._hints).encode())
            self._hints.clear()
