"""Ed25519 keys: their ids, and which public keys are never trusted. Pure: key files are read and guarded elsewhere."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

# securesystemslib.signer exports these without saying so (no __all__); the rest of the project takes them from here.
from securesystemslib.signer import CryptoSigner, Key, Signature, Signer, SSlibKey  # type: ignore[attr-defined]

from audit.ed25519 import weakness
from pools.signing.errors import WeakKeyError

__all__ = [
    "CryptoSigner",
    "Key",
    "SSlibKey",
    "Signature",
    "Signer",
    "key_id",
    "new_signer",
    "public_key",
    "signer_from_pem",
]


def key_id(public: bytes) -> str:
    """The id of a key: hex SHA-256 of its 32 raw public bytes. Derived, so that one key cannot have two ids."""
    return hashlib.sha256(public).hexdigest()


def public_key(public: bytes) -> SSlibKey:
    """The verifying key of 32 raw bytes.

    Raises WeakKeyError for another length, for a y that is not reduced (a second spelling of one point) and for a point
    of low order: such a key accepts one fixed signature over any message, and nobody needs a private key for it.
    """
    if reason := weakness(public):
        raise WeakKeyError(reason)
    return SSlibKey(key_id(public), "ed25519", "ed25519", {"public": public.hex()})


def new_signer() -> CryptoSigner:
    """A fresh key pair in memory. ``signer.private_bytes`` is its PKCS #8 PEM."""
    return _signer(Ed25519PrivateKey.generate())


def signer_from_pem(pem: bytes) -> CryptoSigner:
    """The signer of an unencrypted PKCS #8 PEM. Raises ValueError when it is not an Ed25519 private key."""
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError:  # what the library raises when a passphrase is needed
        raise ValueError("the private key is encrypted") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the private key is not an Ed25519 key")
    return _signer(private)


def _signer(private: Ed25519PrivateKey) -> CryptoSigner:
    return CryptoSigner(private, public_key(private.public_key().public_bytes_raw()))
