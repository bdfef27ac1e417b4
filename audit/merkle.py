"""Hashes of the log's Merkle tree (RFC 6962, section 2.1). Pure: bytes in, bytes out."""

import hashlib


def leaf_hash(leaf: bytes) -> bytes:
    """32 bytes: SHA-256 over 0x00 and the leaf. The prefix keeps a leaf from passing as an inner node."""
    return hashlib.sha256(b"\x00" + leaf).digest()
