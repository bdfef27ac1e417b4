"""The Merkle tree over the stored leaves: read for proofs, grown by the sequencer.

Level 0 is ``Leaf.hash``; of the inner nodes every eighth level is stored. A node between is computed from the stored
level below it, so a proof reads at most a few hundred hashes, however large the log is.
"""

from collections.abc import Iterable, Sequence

from audit import merkle
from audit.merkle import Frontier
from audit.models import Leaf, Node

STEP = 8
"""Levels between two stored ones."""


def read(nodes: Sequence[merkle.Node]) -> dict[merkle.Node, bytes]:
    """The hashes of complete nodes; one query for each stored level. Raises LookupError when leaves are missing."""
    found: dict[merkle.Node, bytes] = {}
    by_stored: dict[int, list[merkle.Node]] = {}
    for level, index in nodes:
        by_stored.setdefault(level - level % STEP, []).append((level, index))
    for stored, wanted in by_stored.items():
        spans = [(index << (level - stored), (index + 1) << (level - stored)) for level, index in wanted]
        hashes = _stored(stored, spans)
        for node, (begin, end) in zip(wanted, spans, strict=True):
            found[node] = _combine([_known(hashes, stored, index) for index in range(begin, end)])
    return found


def frontier(size: int) -> Frontier:
    """The right edge of the tree's first ``size`` leaves."""
    wanted = merkle.peaks(size)
    hashes = read(wanted)
    return Frontier(size, [hashes[node] for node in wanted])


def root(size: int) -> bytes:
    """The root of the first ``size`` leaves (32 bytes)."""
    return merkle.root(size, read)


def kept(completed: Iterable[tuple[merkle.Node, bytes]]) -> list[Node]:
    """The rows for those completed nodes that are stored."""
    return [Node(level=level, index=index, hash=hashed) for (level, index), hashed in completed if level % STEP == 0]


def _stored(level: int, spans: Iterable[tuple[int, int]]) -> dict[int, bytes]:
    """Stored hashes of a level by index. Spans that touch are read as one."""
    rows = Node.objects.filter(level=level) if level else Leaf.objects.all()
    found: dict[int, bytes] = {}
    for begin, end in _joined(spans):
        part = rows.filter(index__gte=begin, index__lt=end)
        found.update((index, bytes(hashed)) for index, hashed in part.values_list("index", "hash"))
    return found


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1] + (1 << STEP):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _known(hashes: dict[int, bytes], level: int, index: int) -> bytes:
    try:
        return hashes[index]
    except KeyError:
        what = f"the node {level}/{index}" if level else f"the leaf {index}"
        raise LookupError(f"The log has lost {what}.") from None


def _combine(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        hashes = [merkle.node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]
