"""The controller's private keys: made on first start, kept in files that only their owner can read.

A file that others could have read or replaced is refused, never repaired: its key may be known.
"""

import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pools.signing.keys import CryptoSigner, new_signer, signer_from_pem

KEY_LIMIT = 16 * 1024


class KeyringError(Exception):
    """A key cannot be used. The message is one line for the person who starts the controller."""


@dataclass(frozen=True)
class Keyring:
    """``config`` signs configs and run states, ``log`` signs the audit log's checkpoints. Never one key for both.

    ``retired`` are the keys that signed the log before: what they signed still counts.
    """

    config: CryptoSigner
    log: CryptoSigner
    retired: Sequence[CryptoSigner] = ()


def open_keyring(home: Path, announce: Callable[[str, str], None]) -> Keyring:
    """The keys in ``home/keys``, made when missing. Raises KeyringError.

    ``announce(name, key id)`` is called before a new key is put in its place: a key that nobody recorded never exists.
    """
    folder = home / "keys"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(folder, os.lstat(folder), stat.S_ISDIR, "0700")
        return Keyring(
            config=_open_key(folder / "config.pem", announce),
            log=_open_key(folder / "log.pem", announce),
            retired=_retired(folder),
        )
    except OSError as error:
        raise KeyringError(f"cannot keep keys in {folder}: {error.strerror}") from error


def rotate_log_key(home: Path, announce: Callable[[CryptoSigner, CryptoSigner], None]) -> Keyring:
    """Give the log a new key and keep the old one beside it, as ``log.retired-<id>.pem``. Raises KeyringError.

    ``announce(old, new)`` is called before anything changes: a key that nobody recorded never exists. No controller may
    run meanwhile: it would go on with the old key.
    """
    folder = home / "keys"
    path = folder / "log.pem"
    try:
        _check_owner(folder, os.lstat(folder), stat.S_ISDIR, "0700")
        old, new = _read_key(path), new_signer()
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        write_new(draft, new.private_bytes)
        try:
            announce(old, new)
            # Killed between the two, the old key is there under both names, and is the log's still.
            with suppress(FileExistsError):
                os.link(path, folder / f"log.retired-{old.public_key.keyid[:16]}.pem")
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise KeyringError(f"cannot keep keys in {folder}: {error.strerror}") from error
    return open_keyring(home, lambda *_: None)


def _retired(folder: Path) -> list[CryptoSigner]:
    current = _read_key(folder / "log.pem").public_key.keyid
    found = [_read_key(path) for path in sorted(folder.glob("log.retired-*.pem"))]
    return [signer for signer in found if signer.public_key.keyid != current]


def _open_key(path: Path, announce: Callable[[str, str], None]) -> CryptoSigner:
    if not os.path.lexists(path):
        _make_key(path, announce)
    return _read_key(path)


def _make_key(path: Path, announce: Callable[[str, str], None]) -> None:
    """Write and sync the key under another name, then link it into place: it is there whole or not at all."""
    signer = new_signer()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_new(draft, signer.private_bytes)
    try:
        announce(path.stem, signer.public_key.keyid)
        os.link(draft, path)
    except FileExistsError:
        return  # another controller was first; its key counts
    finally:
        draft.unlink()
    sync_folder(path.parent)


def _read_key(path: Path) -> CryptoSigner:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise KeyringError(f"cannot read the key file {path}: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        _check_owner(path, os.fstat(handle), stat.S_ISREG, "0600")
        pem = file.read(KEY_LIMIT)
    try:
        return signer_from_pem(pem)
    except ValueError:
        raise KeyringError(f"{path} does not hold an unencrypted Ed25519 private key in PEM") from None


def _check_owner(path: Path, status: os.stat_result, kind: Callable[[int], bool], mode: str) -> None:
    if not kind(status.st_mode):
        raise KeyringError(f"{path} is not a plain file or folder")
    if status.st_uid != os.geteuid():
        raise KeyringError(f"{path} belongs to another user (uid {status.st_uid}): its keys cannot be trusted")
    found = stat.S_IMODE(status.st_mode)
    if found & 0o077:
        raise KeyringError(f"{path} has mode {found:04o}, so other users may know its keys: it must be {mode}")


def write_new(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, and sync it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(handle)


def sync_folder(folder: Path) -> None:
    """Make a rename or link in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
