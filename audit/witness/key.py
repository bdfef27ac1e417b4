"""The witness's private key: made on first start, kept in a file that only its owner can read."""

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit.checkpoint import COSIGNATURE, NoteError, SignerKey
from audit.files import sync_folder, write_all

KEY_LIMIT = 16 * 1024


class KeyFileError(Exception):
    """The key cannot be used. The message is one sentence."""


def open_key(path: Path, name: str) -> SignerKey:
    """The key in ``path``, made when the file is missing. A file that others could have read or replaced is refused,
    never repaired: its key may be known. Raises KeyFileError."""
    try:
        if not os.path.lexists(path):
            _make(path)
        pem = _read(path)
    except OSError as error:
        raise KeyFileError(f"Cannot keep the key in {path}: {error.strerror}.") from error
    try:
        return SignerKey.from_pem(name, pem, COSIGNATURE)
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _make(path: Path) -> None:
    """Write and sync it under another name, then link it into place: it is there whole or not at all."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, pem)
        os.link(draft, path)
    finally:
        os.close(descriptor)
        draft.unlink()
    sync_folder(path.parent)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a plain file.")
        if status.st_uid != os.geteuid():
            raise KeyFileError(f"{path} belongs to another user (uid {status.st_uid}): its key cannot be trusted.")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeyFileError(f"{path} has mode {mode:04o}, so others may know its key: it must be 0600.")
        return file.read(KEY_LIMIT)
