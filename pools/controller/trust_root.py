"""The trust root file that agents are given: which key may sign their configs."""

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from pools.controller.keyring import sync_folder, write_new
from pools.signing import SigningError, TrustRoot
from pools.signing.keys import CryptoSigner

VALIDITY = 365 * 86_400


def write_trust_root(path: Path, env: str, signer: CryptoSigner, announce: Callable[[TrustRoot], None]) -> TrustRoot:
    """Make ``path`` name the signer's key for ``env``; a file that does so and is good for months stays as it is.

    Raises OSError. A new file has the next version number and replaces the old one in one step, after ``announce`` has
    recorded it.
    """
    now = int(time.time())
    current = _read(path)
    if current is not None and _still_good(current, env, signer, now):
        return current
    version = current.version + 1 if current else 1
    root = TrustRoot.create(env=env, expires=now + VALIDITY, keys=[signer.public_key], version=version)
    announce(root)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_new(draft, root.dump(), mode=0o644)
    os.replace(draft, path)
    sync_folder(path.parent)
    return root


def _read(path: Path) -> TrustRoot | None:
    try:
        return TrustRoot.parse(path.read_bytes())
    except (FileNotFoundError, SigningError):
        return None


def _still_good(root: TrustRoot, env: str, signer: CryptoSigner, now: int) -> bool:
    return (
        root.env == env
        and set(root.roles["config"].keys) == {signer.public_key.keyid}
        and root.expires - now > VALIDITY / 3
    )
