"""A small log in memory, with real keys, for tests of what leaves the database."""

from collections.abc import Sequence
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import merkle
from audit.checkpoint import Checkpoint, SignerKey, sign_note
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
