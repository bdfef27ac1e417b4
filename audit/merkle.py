"""The log's Merkle tree (RFC 6962, section 2.1; verification as RFC 9162, 2.1.3.2 and 2.1.4.2).

Pure: numbers and bytes in, bytes out; where hashes are kept is the caller's affair. A *node* ``(level, index)`` is the
root of the complete subtree over the leaves ``[index << level, (index + 1) << level)``; it never changes once those
leaves are there. Every hash has 32 bytes.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

type Node = tuple[int, int]
type Read = Callable[[Sequence[Node]], Mapping[Node, bytes]]
"""Gives the hashes of complete nodes. It is called once a proof, with all that the proof needs."""

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


class ProofError(ValueError):
    """A proof does not show what it should. The message says where it fails."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256 over 0x00 and the leaf. The prefix keeps a leaf from passing as an inner node."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 over 0x01 and the hashes of both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its complete subtrees, the largest first.

    It is all that appending and the root need: at most one hash for each bit of the size.
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"A tree of {size} leaves has {size.bit_count()} peaks, not {len(self.peaks)}.")

    def append(self, leaf: bytes) -> list[tuple[Node, bytes]]:
        """Add one leaf's hash. Returns the nodes that it completed above itself, the lowest first."""
        completed, index, level, hashed = [], self.size, 0, leaf
        while index & 1:
            hashed = node_hash(self.peaks.pop(), hashed)
            index, level = index >> 1, level + 1
            completed.append(((level, index), hashed))
        self.peaks.append(hashed)
        self.size += 1
        return completed

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        return _fold(self.peaks)


def peaks(size: int) -> list[Node]:
    """The complete subtrees that make up a tree of ``size`` leaves, the largest first."""
    return _cover(0, size)


def root(size: int, read: Read) -> bytes:
    """The root of the tree's first ``size`` leaves."""
    wanted = peaks(size)
    return _fold(_in_order(wanted, read(wanted)))


def inclusion_proof(index: int, size: int, read: Read) -> list[bytes]:
    """The audit path of the leaf ``index`` in the tree of ``size`` leaves, from the leaf up. Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError(f"A tree of {size} leaves has no leaf {index}.")
    return _hashes(_path(index, 0, size), read)


def consistency_proof(old: int, size: int, read: Read) -> list[bytes]:
    """What shows that the tree of ``size`` leaves begins with the tree of ``old`` leaves. Raises ValueError."""
    if not 0 < old <= size:
        raise ValueError(f"There is no proof from a tree of {old} leaves to one of {size}.")
    return _hashes(_subproof(old, 0, size, whole=True), read)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes) -> None:
    """Raise ProofError unless ``proof`` leads from the leaf's hash at ``index`` to the root ``expected``."""
    _check_hashes([leaf, *proof])
    if not 0 <= index < size:
        raise ProofError(f"A tree of {size} leaves has no leaf {index}.")
    first, last, found, rest = index, size - 1, leaf, list(proof)
    while last:
        if first & 1 or first == last:
            found = node_hash(_next(rest), found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found = node_hash(found, _next(rest))
        first, last = first >> 1, last >> 1
    _check_all_used(rest)
    if found != expected:
        raise ProofError(f"The proof of leaf {index} leads to another root than that of the tree of {size} leaves.")


def verify_consistency(old: int, size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ProofError unless ``proof`` shows that the tree of ``size`` leaves begins with that of ``old`` leaves.

    A tree of no leaves is refused: everything is consistent with nothing, so such a proof shows nothing.
    """
    _check_hashes(proof)
    if not 0 < old <= size:
        raise ProofError(f"There is no proof from a tree of {old} leaves to one of {size}.")
    rest = list(proof)
    if old == size:
        _check_all_used(rest)
        if old_root != new_root:
            raise ProofError(f"Two trees of {size} leaves have different roots.")
        return
    first, last = old - 1, size - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    old_found = new_found = _next(rest) if first else old_root
    while last:
        if first & 1 or first == last:
            hashed = _next(rest)
            old_found, new_found = node_hash(hashed, old_found), node_hash(hashed, new_found)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            new_found = node_hash(new_found, _next(rest))
        first, last = first >> 1, last >> 1
    _check_all_used(rest)
    if old_found != old_root:
        raise ProofError(f"The proof does not lead to the root of the tree of {old} leaves.")
    if new_found != new_root:
        raise ProofError(f"The proof does not lead to the root of the tree of {size} leaves.")


type _Range = tuple[int, int]


def _path(index: int, begin: int, end: int) -> list[_Range]:
    """PATH of RFC 6962, 2.1.1, as ranges of leaves."""
    if end - begin == 1:
        return []
    middle = begin + _split(end - begin)
    if index < middle:
        return [*_path(index, begin, middle), (middle, end)]
    return [*_path(index, middle, end), (begin, middle)]


def _subproof(old: int, begin: int, end: int, *, whole: bool) -> list[_Range]:
    """SUBPROOF of RFC 6962, 2.1.2, as ranges of leaves; ``whole`` while the old root itself is known."""
    if old == end:
        return [] if whole else [(begin, end)]
    middle = begin + _split(end - begin)
    if old <= middle:
        return [*_subproof(old, begin, middle, whole=whole), (middle, end)]
    return [*_subproof(old, middle, end, whole=False), (begin, middle)]


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def _cover(begin: int, end: int) -> list[Node]:
    """The complete nodes over the leaves [begin, end), from the left. ``begin`` is a multiple of the first one's."""
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def _hashes(ranges: list[_Range], read: Read) -> list[bytes]:
    covers = [_cover(begin, end) for begin, end in ranges]
    found = read([node for cover in covers for node in cover])
    return [_fold(_in_order(cover, found)) for cover in covers]


def _in_order(nodes: Sequence[Node], found: Mapping[Node, bytes]) -> list[bytes]:
    return [found[node] for node in nodes]


def _fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size."""
    if not hashes:
        return EMPTY_ROOT
    *rest, folded = hashes
    for hashed in reversed(rest):
        folded = node_hash(hashed, folded)
    return folded


def _next(rest: list[bytes]) -> bytes:
    if not rest:
        raise ProofError("The proof is too short.")
    return rest.pop(0)


def _check_all_used(rest: list[bytes]) -> None:
    if rest:
        raise ProofError(f"The proof has {len(rest)} hashes too many.")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(hashed) != HASH_SIZE for hashed in hashes):
        raise ProofError(f"A hash has not {HASH_SIZE} bytes.")
