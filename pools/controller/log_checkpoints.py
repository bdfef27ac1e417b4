"""Signs checkpoints of the audit log with the controller's log key."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from audit.anchors import Anchor, DirectoryAnchor, FileAnchor, WitnessClient
from audit.checkpoint import NoteError, SignerKey, VerifierKey
from audit.checkpointer import Checkpointer
from pools.controller.keyring import Keyring, KeyringError, sync_folder, write_new
from pools.signing.keys import CryptoSigner


class LogCheckpoints:
    """Its files and witnesses come from settings."""

    name = "checkpoints"
    interval = 1.0  # how soon a checkpoint that somebody asked for is signed

    def __init__(self, keyring: Keyring) -> None:
        """Raises KeyringError."""
        self._checkpointer = Checkpointer(
            log_key(keyring),
            anchors(),
            witnesses(),
            interval=settings.POOLWARDEN_CHECKPOINT_SECONDS,
            retired=retired_keys(keyring),
        )

    def tick(self) -> bool:
        self._checkpointer.tick()
        return False


def log_key(keyring: Keyring) -> SignerKey:
    """The key that signs checkpoints, under the log's name. Raises KeyringError."""
    return _named(keyring.log)


def retired_keys(keyring: Keyring) -> list[SignerKey]:
    """The keys that signed before a rotation. Raises KeyringError."""
    return [_named(signer) for signer in keyring.retired]


def _named(signer: CryptoSigner) -> SignerKey:
    try:
        return SignerKey.from_pem(settings.POOLWARDEN_LOG_ORIGIN, signer.private_bytes)
    except NoteError as error:
        raise KeyringError(f"POOLWARDEN_LOG_ORIGIN: {settings.POOLWARDEN_LOG_ORIGIN!r} will not do: {error}") from error


def anchors() -> Sequence[Anchor]:
    """Where checkpoints go besides the database."""
    folder = settings.POOLWARDEN_ANCHOR_DIR
    return [FileAnchor(settings.POOLWARDEN_ANCHOR_FILE), *([DirectoryAnchor(folder)] if folder else [])]


def witnesses() -> Sequence[WitnessClient]:
    """Who cosigns. Raises KeyringError."""
    try:
        return [WitnessClient.parse(text) for text in settings.POOLWARDEN_WITNESSES]
    except NoteError as error:
        raise KeyringError(f"POOLWARDEN_WITNESSES: expected URL|KEY, separated by commas: {error}") from error


def write_verifier_keys(path: Path, keyring: Keyring) -> list[VerifierKey]:
    """Make ``path`` hold the log's public keys, one a line, the one that signs first: for whoever verifies an export.
    Raises KeyringError, OSError."""
    keys = [signer.verifier for signer in (log_key(keyring), *retired_keys(keyring))]
    lines = "".join(f"{key}\n" for key in keys).encode()
    if path.exists() and path.read_bytes() == lines:
        return keys
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_new(draft, lines, mode=0o644)
    os.replace(draft, path)
    sync_folder(path.parent)
    return keys
