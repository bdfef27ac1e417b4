"""Whose word counts: the log's keys, the witnesses, and checkpoints that somebody kept from earlier."""

import json
from collections.abc import Iterable, Sequence

from audit.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteError, VerifierKey, open_checkpoint
from audit.verifier.lines import Bad


class Trust:
    """The keys, and what was signed with them so far.

    ``newest`` is the last checkpoint that held, ``cosigned`` its witnesses with their times (Unix seconds), ``since``
    the size of the last kept checkpoint that agreed.
    """

    def __init__(self, keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey]) -> None:
        """Raises ValueError without a key, or with one of the wrong kind."""
        if not keys or any(key.kind != ED25519 for key in keys):
            raise ValueError("The log's key is an Ed25519 verifier key.")
        if any(key.kind != COSIGNATURE for key in witnesses):
            raise ValueError("A witness's key is a verifier key for cosignatures.")
        self.origin = ""
        self.newest = Checkpoint("", 0, b"")
        self.accepted = 0
        self.since = 0
        self.cosigned: dict[VerifierKey, int] = {}
        self._cosigned_size = 0
        self._keys = keys
        self._witnesses = witnesses

    def expect(self, origin: str) -> None:
        """From now on checkpoints are of this log. It bears the name of its keys; those of other logs do not count."""
        names = sorted({key.name for key in self._keys})
        if origin not in names:
            raise Bad(f"This bundle is of the log {origin!r}; the key is of {' or '.join(map(repr, names))}.")
        self.origin = origin
        self._keys = [key for key in self._keys if key.name == origin]

    def open(self, note: bytes) -> Checkpoint:
        """Raises NoteError."""
        return open_checkpoint(note, self._keys, origin=self.origin)

    def read(self, line: bytes, first: int, last: int) -> Checkpoint:
        """The checkpoint of a C line, signed; when it is not, nothing vouches for the events from first to last."""
        try:
            text = json.loads(line[2:]) if line[:2] == b"C " else None
            if not isinstance(text, str):
                raise ValueError
            note = text.encode()
            checkpoint = self.open(note)
            self.cosigned = Note.parse(note).signed_by(self._witnesses)
        except NoteError as error:
            raise Bad(f"The checkpoint over {last + 1:,} events is not good: {error}", first, last) from None
        except (ValueError, RecursionError):
            raise Bad(f"A line C with a checkpoint should stand here: {line[:60]!r}.", first, last) from None
        if not checkpoint.size:
            raise Bad("A checkpoint over no events proves nothing.")
        return checkpoint

    def accept(self, checkpoint: Checkpoint) -> None:
        """Its root is that of the events."""
        self.newest = checkpoint
        self.accepted += 1
        if self.cosigned:
            self._cosigned_size = checkpoint.size

    def check_witnessed(self) -> None:
        if not self._witnesses or self.cosigned:
            return
        names = " or ".join(key.name for key in self._witnesses)
        earlier = f" The last that is covers {self._cosigned_size:,}." if self._cosigned_size else ""
        sentence = f"The checkpoint over {self.newest.size:,} events is not cosigned by {names}.{earlier}"
        raise Bad(sentence, self._cosigned_size, self.newest.size - 1)


class Older:
    """Checkpoints kept from earlier, one by one. ``due`` is the size of the next, 0 after the last."""

    def __init__(self, notes: Iterable[bytes], trust: Trust) -> None:
        self._notes = iter(notes)
        self._trust = trust
        self._next: Checkpoint | None = None
        self.due = 0
        self._advance()
        self.given = self.due > 0

    def at(self, size: int) -> Checkpoint | None:
        """The next one that is not smaller, if it has this size."""
        while 0 < self.due < size:
            self._advance()
        return self._next if self.due == size else None

    def compare(self, size: int, root: bytes) -> bool:
        """Whether every kept checkpoint of this size has this root."""
        while older := self.at(size):
            if older.root != root:
                return False
            self._trust.since = size
            self._advance()
        return True

    def check_all_met(self, size: int) -> None:
        if self.due:
            raise Bad(
                f"The log had {self.due:,} events when the kept checkpoint was signed; here it has {size:,}. "
                "Its end was cut off, or this bundle was made before that checkpoint.",
                size,
            )

    def _advance(self) -> None:
        note, before = next(self._notes, None), self._next
        if note is None:
            self._next, self.due = None, 0
            return
        try:
            self._next = self._trust.open(note)
        except NoteError as error:
            raise Bad(f"A checkpoint kept from earlier is not good: {error}") from None
        self.due = self._next.size
        if not self.due:
            raise Bad("A checkpoint kept from earlier is over no events: every log continues it.")
        if before and self.due < before.size:
            raise Bad("The checkpoints kept from earlier do not ascend in size.")
        if before and self.due == before.size and self._next.root != before.root:
            raise Bad(f"Of the checkpoints kept from earlier, two over {self.due:,} events have different roots.")
