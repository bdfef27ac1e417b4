"""Checkpoints: a tree's size and root in a signed note (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

A note is text, an empty line, and signature lines. The log signs with Ed25519 over the text; a witness cosigns the text
together with the time at which it saw that the tree had only grown. Pure: keys come in as objects, notes as bytes.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from audit.ed25519 import weakness
from audit.merkle import HASH_SIZE

MAX_BYTES = 1_000_000
MAX_SIGNATURES = 100
ED25519 = 0x01
COSIGNATURE = 0x04
_DASH = "\u2014 "
_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteError(ValueError):
    """A note, a key or a checkpoint cannot be read, or is not signed by whom it should be. Says why."""


@dataclass(frozen=True)
class VerifierKey:
    """A public key with a name, as in ``name+0a1b2c3d+base64``. ``kind`` is ED25519 or COSIGNATURE."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes that say which key a signature line is for. A hint, not a proof."""
        return hashlib.sha256(f"{self.name}\n".encode() + bytes([self.kind]) + self.public).digest()[:4]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key. Raises NoteError."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = _decode(encoded, "the key")
        if not _NAME.fullmatch(name) or len(raw) != 33 or raw[0] not in (ED25519, COSIGNATURE):
            raise NoteError("A verifier key is written name+id+base64, for an Ed25519 key.")
        if reason := weakness(raw[1:]):
            raise NoteError(reason)
        key = cls(name, raw[0], raw[1:])
        if key.key_id.hex() != key_id:
            raise NoteError(f"The verifier key of {name} says it has the id {key_id[:8]}; it has {key.key_id.hex()}.")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def verify(self, text: str, signature: bytes) -> int:
        """Check a signature over a note's text. Returns a cosignature's Unix time, else 0. Raises NoteError."""
        at, message = 0, text.encode()
        if self.kind == COSIGNATURE:
            if len(signature) != 72:
                raise NoteError(f"The cosignature of {self.name} has not 72 bytes.")
            at, signature = int.from_bytes(signature[:8]), signature[8:]
            message = _cosigned(text, at)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            raise NoteError(f"The signature of {self.name} ({self.key_id.hex()}) does not verify.") from None
        return at


@dataclass(frozen=True)
class SignerKey:
    """A private Ed25519 key with the name under which it signs; ``kind`` as in VerifierKey."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)
    kind: int = ED25519

    @classmethod
    def from_pem(cls, name: str, pem: bytes, kind: int = ED25519) -> Self:
        """The key of an unencrypted PKCS #8 PEM. Raises NoteError."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (TypeError, ValueError):
            raise NoteError("This is not an unencrypted private key in PEM.") from None
        if not isinstance(private, Ed25519PrivateKey) or not _NAME.fullmatch(name):
            raise NoteError("A note is signed with an Ed25519 key, under a name without spaces or +.")
        return cls(name, private, kind)

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey(self.name, self.kind, self.private.public_key().public_bytes_raw())

    def line(self, text: str, at: int = 0) -> str:
        """The signature line over ``text``; a cosignature says ``at``, in Unix seconds."""
        if self.kind == COSIGNATURE:
            signature = at.to_bytes(8) + self.private.sign(_cosigned(text, at))
        else:
            signature = self.private.sign(text.encode())
        return f"{_DASH}{self.name} {base64.b64encode(self.verifier.key_id + signature).decode()}\n"


@dataclass(frozen=True)
class Note:
    """A note as read. ``signatures`` are (name, key id, signature); nothing of it is trusted yet."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read a note of at most 1 MB. Raises NoteError."""
        if len(raw) > MAX_BYTES:
            raise NoteError(f"The note has {len(raw):,} bytes; at most {MAX_BYTES:,} are allowed.")
        try:
            whole = raw.decode()
        except UnicodeDecodeError:
            raise NoteError("The note is not UTF-8.") from None
        if any(ord(letter) < 0x20 and letter != "\n" for letter in whole):
            raise NoteError("The note holds control characters.")
        text, gap, lines = whole.rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise NoteError("The note has no signatures.")
        signatures = tuple(_signature(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise NoteError(f"The note has more than {MAX_SIGNATURES} signatures.")
        return cls(text + "\n", signatures)

    def signed_by(self, keys: Iterable[VerifierKey]) -> dict[VerifierKey, int]:
        """The keys that signed, with their cosignatures' times (0 without one).

        Signatures of unknown keys are passed over. Raises NoteError when one of a known key does not verify.
        """
        named: dict[tuple[str, bytes], list[VerifierKey]] = {}
        for key in keys:
            named.setdefault((key.name, key.key_id), []).append(key)
        found: dict[VerifierKey, int] = {}
        for name, key_id, signature in self.signatures:
            known = named.get((name, key_id), [])
            if len(known) > 1:
                raise NoteError(f"Two keys are called {name}+{key_id.hex()}.")
            if known and known[0] not in found:
                found[known[0]] = known[0].verify(self.text, signature)
        return found


def sign_note(text: str, signers: Sequence[SignerKey]) -> bytes:
    """The note over ``text`` (which ends in a newline), signed by each."""
    return f"{text}\n{''.join(signer.line(text) for signer in signers)}".encode()


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: the first ``size`` leaves of ``origin`` have the Merkle root ``root`` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a note's text; further lines are extensions and passed over. Raises NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not _SIZE.fullmatch(lines[1]):
            raise NoteError("A checkpoint has three lines: origin, size, root.")
        root = _decode(lines[2], "the root")
        if len(root) != HASH_SIZE:
            raise NoteError(f"A checkpoint's root has {HASH_SIZE} bytes, not {len(root)}.")
        return cls(lines[0], int(lines[1]), root)


def open_checkpoint(raw: bytes, log: VerifierKey | Sequence[VerifierKey], *, origin: str = "") -> Checkpoint:
    """The checkpoint in a note that the log's key (or one of its keys) signed.

    ``origin`` is what its first line must be; by default the key's name. Raises NoteError.
    """
    keys = [log] if isinstance(log, VerifierKey) else list(log)
    note = Note.parse(raw)
    if not note.signed_by(keys):
        raise NoteError(f"The checkpoint is not signed by {' or '.join(str(key) for key in keys)}.")
    checkpoint = Checkpoint.parse(note.text)
    expected = origin or keys[0].name
    if checkpoint.origin != expected:
        raise NoteError(f"The checkpoint is of the log {checkpoint.origin!r}, not {expected!r}.")
    return checkpoint


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _decode(encoded, "a signature")
    if not line.startswith(_DASH) or not _NAME.fullmatch(name) or len(raw) < 5:
        raise NoteError("A signature line is written: dash, name, base64.")
    return name, raw[:4], raw[4:]


def _cosigned(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _decode(encoded: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or base64.b64encode(raw).decode() != encoded:
        raise NoteError(f"This is not base64: {what}.")
    return raw
