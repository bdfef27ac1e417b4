"""A small log in memory, with real keys, for tests of what leaves the database."""

import hashlib
import io
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle
from audit.bundle import About, Disclosed, SizedNote, StoredLeaf, write_log, write_part
from audit.checkpoint import Checkpoint, Note, SignerKey, sign_note
from audit.merkle import Frontier, Node, leaf_hash

ORIGIN = "poolwarden/test"


@cache
def signer(name: str = ORIGIN, kind: int = 1, seed: int = 1) -> SignerKey:
    """The same key for the same arguments."""
    return SignerKey(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32), kind)


class SmallLog:
    """Leaves, all their nodes, and notes over any size."""

    def __init__(self, leaves: Sequence[bytes], key: SignerKey | None = None) -> None:
        self.leaves = list(leaves)
        self.key = key or signer()
        self.roots = [merkle.EMPTY_ROOT]
        self._nodes: dict[Node, bytes] = {}
        edge = Frontier()
        for index, leaf in enumerate(self.leaves):
            self._nodes[0, index] = leaf_hash(leaf)
            self._nodes.update(edge.append(leaf_hash(leaf)))
            self.roots.append(edge.root())

    def note(self, size: int) -> bytes:
        return sign_note(Checkpoint(ORIGIN, size, self.roots[size]).text, [self.key])

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return merkle.inclusion_proof(index, size, self.read)

    def consistency(self, old: int, size: int) -> list[bytes]:
        return merkle.consistency_proof(old, size, self.read) if old else []

    def read(self, nodes: Sequence[Node]) -> dict[Node, bytes]:
        return {node: self._nodes[node] for node in nodes}


def small_log(size: int, *, branch: int | None = None, key: SignerKey | None = None) -> SmallLog:
    """A log of ``size`` leaves; from the index ``branch`` on they are others."""
    return SmallLog(
        [
            f'{{"event":{index}{',"other":true' if branch is not None and index >= branch else ""}}}'.encode()
            for index in range(size)
        ],
        key,
    )


ABOUT = About(ORIGIN, str(signer().verifier), datetime(2026, 11, 22, 9, 30, tzinfo=UTC))


def log_bundle(
    log: SmallLog,
    checkpoints: Iterable[int],
    *,
    stored: SmallLog | None = None,
    personal: Mapping[int, Sequence[Disclosed]] | None = None,
    witnesses: Sequence[SignerKey] = (),
    without: Container[int] = (),
) -> bytes:
    """The bundle of a log whose tables hold the checkpoints and hashes of ``stored``, by default its own."""
    stored = stored or log
    out = io.BytesIO()
    notes = [SizedNote(size, cosigned(stored.note(size), witnesses)) for size in checkpoints]
    leaves = (
        StoredLeaf(
            index, leaf, leaf_hash(stored.leaves[min(index, len(stored.leaves) - 1)]), (personal or {}).get(index, ())
        )
        for index, leaf in enumerate(log.leaves)
        if index not in without
    )
    write_log(out, ABOUT, notes, leaves)
    return out.getvalue()


def part_bundle(
    log: SmallLog, size: int, indexes: Iterable[int], *, consistency: Iterable[int] = (), by: SmallLog | None = None
) -> bytes:
    """Some events of a log, with a checkpoint and proofs by ``by``, by default the log itself."""
    by = by or log
    out = io.BytesIO()
    events = [
        (StoredLeaf(index, log.leaves[index], leaf_hash(log.leaves[index])), by.inclusion(index, size))
        for index in indexes
    ]
    proofs = [(old, by.consistency(old, size)) for old in consistency]
    note = SizedNote(size, by.note(size))
    write_part(out, ABOUT, note, events, filters={"pool": "mail"}, consistency=proofs)
    return out.getvalue()


def cosigned(note: bytes, witnesses: Sequence[SignerKey], at: int = 1_700_000_000) -> bytes:
    return note + "".join(witness.line(Note.parse(note).text, at) for witness in witnesses).encode()


def sealed(lines: Iterable[bytes]) -> bytes:
    """A bundle of these lines with a last line that fits, as somebody makes who knows the format."""
    body = b"".join(line for line in lines if not line.startswith(b"E "))
    events = sum(line.startswith(b"L ") for line in body.splitlines(keepends=True))
    return body + b'E {"events":%d,"sha256":"%s"}\n' % (events, hashlib.sha256(body).hexdigest().encode())
