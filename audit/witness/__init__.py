"""A witness: cosigns a log's checkpoints as long as the log only grows (C2SP tlog-witness, tlog-cosignature).

A process of its own, with a key of its own, best on a host of somebody else: who rewrites the log would have to break
into both. It knows no SQL and no Django.
"""

import base64
import binascii
import hashlib
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit.checkpoint import Checkpoint, Note, NoteError, SignerKey, VerifierKey
from audit.files import replace
from audit.merkle import EMPTY_ROOT, ProofError, verify_consistency

SIZE_TYPE = "text/x.tlog.size"
PROOF_LIMIT = 63
_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")


class StateError(Exception):
    """What the witness should remember cannot be read. The message is one sentence."""


class _Malformed(Exception):
    pass


@dataclass(frozen=True)
class Answer:
    """An HTTP status, its body and the body's type; ``why`` is for the witness's own log."""

    status: int
    body: str
    kind: str = "text/plain; charset=utf-8"
    why: str = ""


class Witness:
    """Remembers the newest checkpoint of each log that it cosigned, one file a log in ``folder``."""

    def __init__(self, folder: Path, key: SignerKey, logs: Mapping[str, Sequence[VerifierKey]]) -> None:
        """``logs`` maps each origin to its keys, any of which may have signed. Raises StateError."""
        self.key = key
        self._folder = folder
        self._logs = logs
        self._lock = threading.Lock()
        self._newest = {origin: self._remembered(origin) for origin in logs}

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request, in the order of checks of tlog-witness. Raises OSError when it cannot remember."""
        try:
            old, proof, raw = _request(body)
            note = Note.parse(raw)
            new = Checkpoint.parse(note.text)
        except (_Malformed, NoteError) as error:
            return Answer(400, f"{error}\n")
        keys = self._logs.get(new.origin)
        if keys is None:
            return Answer(404, "This witness does not know the log.\n")
        try:
            signed = note.signed_by(keys)
        except NoteError as error:
            return Answer(403, f"{error}\n")
        if not signed:
            return Answer(403, "The checkpoint is not signed with a key of the log.\n")
        if old > new.size:
            return Answer(400, "The old size is larger than the checkpoint's.\n")
        # One at a time: between the check and the record nobody else may grow the tree.
        with self._lock:
            return self._grow(old, proof, new, note, raw)

    def newest(self) -> dict[str, Checkpoint]:
        """The newest checkpoint of each log, by origin; of size 0 where none was seen."""
        with self._lock:
            return dict(self._newest)

    def close(self) -> None:
        """Answer no more. What is under way has been recorded, or will never be signed."""
        self._lock.acquire()

    def _grow(self, old: int, proof: Sequence[bytes], new: Checkpoint, note: Note, raw: bytes) -> Answer:
        known = self._newest[new.origin]
        if old != known.size:
            return Answer(409, f"{known.size}\n", SIZE_TYPE, f"asked from {old}, knows {known.size}")
        if old == new.size and known.root != new.root:
            return Answer(409, f"{known.size}\n", SIZE_TYPE, f"ANOTHER TREE OF THE SAME SIZE: {raw!r}")
        try:
            _check_growth(known, new, proof)
        except ProofError as error:
            return Answer(422, f"{error}\n", why=f"NOT A CONTINUATION: {raw!r}")
        if new != known:
            # On the disk before anybody sees a signature: a kill in between costs one answer, never a memory.
            replace(self._path(new.origin), raw)
            self._newest[new.origin] = new
        return Answer(200, self.key.line(note.text, int(time.time())), why=f"cosigned {new.size}")

    def _remembered(self, origin: str) -> Checkpoint:
        path = self._path(origin)
        try:
            found = Checkpoint.parse(Note.parse(path.read_bytes()).text)
        except FileNotFoundError:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        except NoteError as error:
            raise StateError(f"{path} is damaged, so what was cosigned of {origin} is not known: {error}") from None
        if found.origin != origin:
            raise StateError(f"{path} is of the log {found.origin}, not of {origin}.")
        return found

    def _path(self, origin: str) -> Path:
        return self._folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.note"


def _request(body: bytes) -> tuple[int, list[bytes], bytes]:
    """The old size, the proof and the note. Raises _Malformed."""
    head, gap, note = body.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    old = _OLD.fullmatch(first)
    if not gap or not old:
        raise _Malformed("A request is: old SIZE, the proof's lines, an empty line, the checkpoint.")
    if len(lines) > PROOF_LIMIT:
        raise _Malformed(f"A proof has at most {PROOF_LIMIT} lines.")
    try:
        return int(old[1]), [base64.b64decode(line, validate=True) for line in lines], note
    except binascii.Error:
        raise _Malformed("A line of the proof is not base64.") from None


def _check_growth(known: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Raise ProofError unless ``proof`` shows that ``new`` continues ``known``. From nothing there is none to show."""
    if known.size:
        verify_consistency(known.size, new.size, known.root, new.root, proof)
    elif proof:
        raise ProofError("The first checkpoint takes no proof.")
