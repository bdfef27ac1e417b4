"""Proofs from stored nodes, held against a tree that is computed from all leaves."""

import random

import pytest
from django.db import connection, transaction

from audit import merkle, tree
from audit.merkle import Frontier, leaf_hash
from audit.models import Event, Leaf, Node, Pending
from audit.sequencer import Sequencer
from tests.audit.cast import happened
from tests.audit.tampering import tamper

pytestmark = pytest.mark.django_db

COUNT = (1 << 16) + 700  # beyond the second stored level
SIZES = (1, 2, 3, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, COUNT)


def grown(count: int) -> list[bytes]:
    """The roots by size of a log that a sequencer would have made: leaves and stored nodes in their tables."""
    pattern = happened()
    Sequencer().tick()
    assert Leaf.objects.count() == 1
    columns = ", ".join(f'"{field.column}"' for field in Event._meta.concrete_fields if field.name not in ("id", "uid"))
    numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
    uid = "lower(hex(randomblob(16)))" if connection.vendor == "sqlite" else "gen_random_uuid()"
    with connection.cursor() as cursor:
        cursor.execute(
            f"{numbers} INSERT INTO audit_event (uid, {columns}) "
            f"SELECT {uid}, {columns} FROM audit_event, numbers WHERE id = %s"
            if connection.vendor == "sqlite"
            else f"INSERT INTO audit_event (uid, {columns}) {numbers} "
            f"SELECT {uid}, {columns} FROM audit_event, numbers WHERE id = %s",
            [count - 1, pattern.pk],
        )
    edge, roots, leaves, nodes = Frontier(), [merkle.EMPTY_ROOT], [], []
    for index, event_id in enumerate(Event.objects.order_by("id").values_list("id", flat=True)):
        hashed = leaf_hash(bytes(pattern.leaf) if not index else f"leaf {index}".encode())
        completed = edge.append(hashed)
        roots.append(edge.root())
        if index:
            leaves.append(Leaf(index=index, event_id=event_id, hash=hashed))
            nodes += tree.kept(completed)
    Leaf.objects.bulk_create(leaves, batch_size=5_000)
    Node.objects.bulk_create(nodes, batch_size=5_000)
    Pending.objects.filter(event__placed__isnull=False).delete()
    return roots


def test_proofs_verify_at_any_size() -> None:
    roots, dice = grown(COUNT), random.Random("tree")
    assert Node.objects.filter(level=16).count() == 1 and Node.objects.filter(level=8).count() == COUNT >> 8
    sizes = [*SIZES, *(dice.randrange(1, COUNT) for _ in range(20))]
    for size in sizes:
        assert tree.root(size) == roots[size]
        assert tree.frontier(size).root() == roots[size]
        for index in {0, size - 1, dice.randrange(size), dice.randrange(size)}:
            hashed = bytes(Leaf.objects.get(index=index).hash)
            proof = merkle.inclusion_proof(index, size, tree.read)
            merkle.verify_inclusion(index, size, hashed, proof, roots[size])
        for old in {1, size, dice.randrange(1, size + 1)}:
            proof = merkle.consistency_proof(old, size, tree.read)
            merkle.verify_consistency(old, size, roots[old], roots[size], proof)


def test_the_sequencer_goes_on_from_any_size() -> None:
    roots = grown(300)
    for _ in range(3):
        with transaction.atomic():
            happened()
    Sequencer().tick()
    edge = tree.frontier(300)
    assert edge.root() == roots[300]
    for hashed in Leaf.objects.filter(index__gte=300).order_by("index").values_list("hash", flat=True):
        edge.append(bytes(hashed))
    assert edge.size == 303 and tree.root(303) == edge.root()


def test_a_lost_leaf_or_node_is_named() -> None:
    grown(600)
    tamper('DELETE FROM audit_leaf WHERE "index" = 590')
    with pytest.raises(LookupError, match="The log has lost the leaf 590"):
        tree.root(600)
    tamper('DELETE FROM audit_node WHERE level = 8 AND "index" = 1')
    with pytest.raises(LookupError, match="The log has lost the node 8/1"):
        tree.root(512)
