"""Proofs for readers of the log, and what its newest checkpoint promises."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Max

from audit import conditions, merkle, tree
from audit.actor import Actor
from audit.checkpoint import NoteError, VerifierKey
from audit.models import Checkpoint, Condition, Leaf, Node
from audit.permissions import VIEW, require

_HASH_SHOWN = 12
# What it means when a condition is not good; ``{}`` is the anchor or witness.
_LABELS = {
    conditions.CONTENTS: "The log was altered",
    conditions.SIGNING: "No checkpoint is being signed",
    conditions.PROTECTION: "The log is weakly protected",
    "anchor": "Checkpoints do not reach {}",
    "witness": "The witness {} does not cosign",
}


@dataclass(frozen=True)
class Inclusion:
    """That ``leaf`` is at ``index`` in the tree of ``checkpoint``: ``path`` leads from its hash to the root.

    A step of the path is ("left" or "right", hash): on which side the sibling stands.
    """

    index: int
    leaf_hash: bytes
    checkpoint: Checkpoint
    path: list[tuple[str, bytes]]

    @property
    def root_hex(self) -> str:
        return bytes(self.checkpoint.root).hex()

    @property
    def path_hex(self) -> list[tuple[str, str]]:
        return [(side, hashed.hex()) for side, hashed in self.path]


@dataclass(frozen=True)
class Consistency:
    """That the tree of ``size`` leaves begins with the tree of ``old`` leaves."""

    old: int
    size: int
    old_root: bytes
    root: bytes
    path: list[bytes]


class NoSuchTree(ValueError):
    """There is no proof between these sizes. ``field`` names the wrong one: ``from`` or ``to``."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclass(frozen=True)
class Part:
    """A condition as people read it. ``name`` is that of an anchor or witness; ``size`` what it has got. ``tone``, when
    it is not good: bad for what cannot be trusted any more, warn for what is less than it could be."""

    label: str
    name: str
    good: bool
    detail: str
    size: int
    at: datetime
    tone: str


@dataclass(frozen=True)
class Badge:
    """How far the log can be checked from outside. ``checkpoint`` is None before the first one.

    ``uncovered`` counts the events with a place that no checkpoint covers yet; ``troubles`` are the conditions that are
    not good, ``anchors`` those of the places where checkpoints are kept, ``witnesses`` those who cosign.
    """

    checkpoint: Checkpoint | None
    cosigned: list[str]
    uncovered: int
    verified_at: datetime | None
    troubles: list[Part]
    anchors: list[Part]
    witnesses: list[Part]

    @property
    def root(self) -> str:
        return bytes(self.checkpoint.root).hex()[:_HASH_SHOWN] if self.checkpoint else ""

    @property
    def behind(self) -> list[Part]:
        """Anchors and witnesses that are well and have not got the newest checkpoint yet."""
        newest = self.checkpoint.size if self.checkpoint else 0
        return [place for place in (*self.anchors, *self.witnesses) if place.good and place.size < newest]


def newest_checkpoint(actor: Actor) -> Checkpoint:
    """Raises Denied, Checkpoint.DoesNotExist."""
    require(actor, VIEW)
    return Checkpoint.objects.prefetch_related("cosignatures").latest("size")


def full_note(checkpoint: Checkpoint) -> str:
    """The note as it was signed, with the signature lines of its witnesses."""
    lines = (row.line.rstrip("\n") + "\n" for row in checkpoint.cosignatures.all())
    return bytes(checkpoint.note).decode() + "".join(lines)


def inclusion(actor: Actor, index: int) -> Inclusion:
    """The proof of a leaf in the newest checkpoint. Raises Denied, Leaf.DoesNotExist, Checkpoint.DoesNotExist (the
    leaf is not under a checkpoint yet), and LookupError when leaves are missing."""
    require(actor, VIEW)
    leaf = Leaf.objects.get(index=index)
    checkpoint = Checkpoint.objects.prefetch_related("cosignatures").filter(size__gt=index).latest("size")
    hashes = merkle.inclusion_proof(index, checkpoint.size, tree.read)
    return Inclusion(index, bytes(leaf.hash), checkpoint, list(zip(sides(index, checkpoint.size), hashes, strict=True)))


def consistency(actor: Actor, old: int, size: int | None) -> Consistency:
    """The proof from one size of the log to a later one; None is the newest checkpoint's. Raises Denied, NoSuchTree,
    and LookupError when leaves are missing."""
    require(actor, VIEW)
    there = stored()
    size = newest_size() if size is None else size
    if not 0 < old <= there:
        raise NoSuchTree("from", f"The log has {there:,} events: say a size from 1 to {there:,}.")
    if not old <= size <= there:
        raise NoSuchTree("to", f"The log has {there:,} events: say a size from {old:,} to {there:,}.")
    path = merkle.consistency_proof(old, size, tree.read)
    return Consistency(old, size, tree.root(old), tree.root(size), path)


def sides(index: int, size: int) -> list[str]:
    """On which side the sibling stands at each step of an inclusion proof, from the leaf up (RFC 9162, 2.1.3.2)."""
    found, first, last = [], index, size - 1
    while last:
        if first & 1 or first == last:
            found.append("left")
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            found.append("right")
        first, last = first >> 1, last >> 1
    return found


class Blocks:
    """Reads nodes as ``tree.read`` does, for many proofs in the order of the log: it loads the 256 stored hashes
    below a node at once and keeps the last few such blocks with all that lies between."""

    KEPT = 16
    _WIDTH = 1 << tree.STEP

    def __init__(self) -> None:
        self._blocks: OrderedDict[merkle.Node, dict[merkle.Node, bytes]] = OrderedDict()

    def read(self, nodes: Sequence[merkle.Node]) -> dict[merkle.Node, bytes]:
        """Raises LookupError when leaves are missing."""
        return {node: self._known(node) for node in nodes}

    def _known(self, node: merkle.Node) -> bytes:
        try:
            return self._block(*node)[node]
        except KeyError:
            raise LookupError(f"The log has lost what is below the node {node[0]}/{node[1]}.") from None

    def _block(self, level: int, index: int) -> dict[merkle.Node, bytes]:
        above = tree.STEP - level % tree.STEP
        key = (level + above, index >> above)
        if key not in self._blocks:
            self._blocks[key] = self._load(level - level % tree.STEP, key[1] * self._WIDTH)
            if len(self._blocks) > self.KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return self._blocks[key]

    def _load(self, level: int, begin: int) -> dict[merkle.Node, bytes]:
        rows = Node.objects.filter(level=level) if level else Leaf.objects.all()
        rows = rows.filter(index__gte=begin, index__lt=begin + self._WIDTH)
        known = {(level, index): bytes(hashed) for index, hashed in rows.values_list("index", "hash")}
        found = dict(known)
        for here in range(level, level + tree.STEP - 1):
            pairs = [index for at, index in known if not index & 1 and (at, index + 1) in known]
            known = {
                (here + 1, index >> 1): merkle.node_hash(known[here, index], known[here, index + 1]) for index in pairs
            }
            found |= known
        return found


def stored() -> int:
    """How many leaves the log has."""
    newest = Leaf.objects.aggregate(newest=Max("index"))["newest"]
    return 0 if newest is None else newest + 1


def newest_size() -> int:
    """The size of the newest checkpoint; 0 without one."""
    return Checkpoint.objects.aggregate(newest=Max("size"))["newest"] or 0


def badge() -> Badge:
    """What the badge says. It tells nothing of the log's content: anyone may know it."""
    checkpoint = Checkpoint.objects.prefetch_related("cosignatures").order_by("-size").first()
    kinds: dict[str, list[Part]] = {kind: [] for kind in _LABELS}
    for row in Condition.objects.order_by("name"):
        kinds.setdefault(row.name.partition(":")[0], []).append(_part(row))
    parts = [part for found in kinds.values() for part in found]
    return Badge(
        checkpoint=checkpoint,
        cosigned=[row.witness for row in checkpoint.cosignatures.all()] if checkpoint else [],
        uncovered=stored() - (checkpoint.size if checkpoint else 0),
        verified_at=next((part.at for part in kinds[conditions.SIGNING] if part.good), None),
        troubles=[part for part in parts if not part.good],
        anchors=kinds["anchor"],
        witnesses=kinds["witness"],
    )


def _part(row: Condition) -> Part:
    kind, _, name = row.name.partition(":")
    label = _LABELS.get(kind, row.name).format(name)
    tone = "bad" if kind in (conditions.CONTENTS, conditions.SIGNING) else "warn"
    return Part(label, name or row.name, row.good, row.detail, row.size, row.at, tone)


def known_keys() -> list[VerifierKey]:
    """The keys that this installation knows: the log's, as the controller wrote them, the one that signs now first; and
    those of its witnesses.

    Whoever checks a proof should have them from elsewhere. Empty where the file is on another host.
    """
    texts = [witness.partition("|")[2] for witness in settings.POOLWARDEN_WITNESSES]
    with suppress(OSError, UnicodeDecodeError):
        texts = [*(settings.POOLWARDEN_HOME / "log.vkey").read_text(encoding="utf-8").splitlines(), *texts]
    keys = []
    for text in texts:
        with suppress(NoteError):  # the controller says what is wrong with its own; a page goes without
            keys.append(VerifierKey.parse(text))
    return keys
