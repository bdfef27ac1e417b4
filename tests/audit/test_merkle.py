"""The tree against the published vectors, and against a second way to compute it."""

import hashlib
import random

import pytest

from audit import merkle
from audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    ProofError,
    Read,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from tests.audit.vectors import b64, vectors

INCLUSION = vectors("rfc6962_inclusion_proofs")["cases"]
CONSISTENCY = vectors("rfc6962_consistency_proofs")["cases"]
TREE = vectors("rfc6962_tree")


def reader(leaves: list[bytes]) -> Read:
    """All complete nodes over ``leaves`` (hashes), level by level."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return lambda nodes: {(level, index): levels[level][index] for level, index in nodes}


def plain_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word, over leaf hashes."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(plain_root(leaves[:split]), plain_root(leaves[split:]))


def hashes(count: int, seed: int = 0) -> list[bytes]:
    chance = random.Random(seed)
    return [leaf_hash(chance.randbytes(8)) for _ in range(count)]


@pytest.mark.parametrize("case", INCLUSION, ids=[case["file"] for case in INCLUSION])
def test_published_inclusion_proofs(case: dict[str, object]) -> None:
    proof = [b64(hashed) for hashed in case["proof"] or []]  # type: ignore[attr-defined]
    asked = (case["leafIdx"], case["treeSize"], b64(case["leafHash"]), proof, b64(case["root"]))  # type: ignore[arg-type]
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*asked)  # type: ignore[arg-type]
    else:
        verify_inclusion(*asked)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CONSISTENCY, ids=[case["file"] for case in CONSISTENCY])
def test_published_consistency_proofs(case: dict[str, object]) -> None:
    proof = [b64(hashed) for hashed in case["proof"] or []]  # type: ignore[attr-defined]
    asked = (case["size1"], case["size2"], b64(case["root1"]), b64(case["root2"]), proof)  # type: ignore[arg-type]
    if case["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*asked)  # type: ignore[arg-type]
    else:
        verify_consistency(*asked)  # type: ignore[arg-type]


def test_the_vectors_hold_as_many_cases_as_they_say() -> None:
    assert (len(INCLUSION), len(CONSISTENCY)) == (98, 98)
    assert [sum(case["wantErr"] for case in cases) for cases in (INCLUSION, CONSISTENCY)] == [92, 92]


def test_published_leaves_nodes_and_roots() -> None:
    leaves = [leaf_hash(bytes.fromhex(text)) for text in TREE["leaf_inputs_hex"]]
    read = reader(leaves)
    for level, row in enumerate(TREE["node_hashes_by_level_hex"]):
        assert [read([(level, index)])[level, index].hex() for index in range(len(row))] == row
    for size, expected in enumerate(TREE["root_hash_by_size_hex"]):
        assert merkle.root(size, read).hex() == expected
        edge = Frontier()
        for leaf in leaves[:size]:
            edge.append(leaf)
        assert edge.root().hex() == expected
        assert [peak.hex() for peak in edge.peaks] == TREE["compact_range_by_size_hex"][size]


def test_every_root_and_proof_of_a_tree_of_130() -> None:
    read = reader([leaf_hash(bytes([number])) for number in range(130)])
    roots, inclusions, consistencies = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    for size in range(131):
        roots.update(f"{size} {merkle.root(size, read).hex()}\n".encode())
        for index in range(size):
            proof = "".join(f" {hashed.hex()}" for hashed in inclusion_proof(index, size, read))
            inclusions.update(f"{index} {size}{proof}\n".encode())
        for old in range(size + 1):
            proof = "".join(f" {hashed.hex()}" for hashed in (consistency_proof(old, size, read) if old else []))
            consistencies.update(f"{old} {size}{proof}\n".encode())
    found = [digest.hexdigest() for digest in (roots, inclusions, consistencies)]
    assert found == list(vectors("accumulated_130")["derived_plain_rfc6962"]["sha256"].values())


def test_a_real_certificate_in_a_log_of_3_630_887() -> None:
    real = vectors("ct_real_log")
    found = real["inclusion"]
    leaf = leaf_hash(bytes.fromhex(found["leaf_input_hex"]))
    proof = [bytes.fromhex(hashed) for hashed in found["proof"]]
    root = bytes.fromhex(found["root"])
    verify_inclusion(found["leaf_index"], found["tree_size"], leaf, proof, root)
    with pytest.raises(ProofError):
        verify_inclusion(found["leaf_index"] + 1, found["tree_size"], leaf, proof, root)


@pytest.mark.parametrize("sizes", [range(start, start + 50) for start in range(1, 301, 50)], ids=lambda r: f"{r[0]}+")
def test_trees_of_every_size_to_300_at_every_index(sizes: range) -> None:
    for size in sizes:
        leaves = hashes(size, seed=size)
        root, read = plain_root(leaves), reader(leaves)
        assert merkle.root(size, read) == root
        for index, leaf in enumerate(leaves):
            verify_inclusion(index, size, leaf, inclusion_proof(index, size, read), root)


def test_growing_by_any_step_to_100_is_consistent() -> None:
    leaves = hashes(100)
    read = reader(leaves)
    roots = [plain_root(leaves[:size]) for size in range(101)]
    for size in range(1, 101):
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, read)
            verify_consistency(old, size, roots[old], roots[size], proof)
            with pytest.raises(ProofError):
                verify_consistency(old, size, leaf_hash(b"another"), roots[size], proof)


@pytest.mark.parametrize("seed", range(6))
def test_random_trees_to_10_000(seed: int) -> None:
    chance = random.Random(seed)
    size = chance.randint(300, 10_000)
    leaves = hashes(size, seed)
    read, edge = reader(leaves), Frontier()
    kept: dict[Node, bytes] = {}
    for leaf in leaves:
        kept.update(edge.append(leaf))
    root = edge.root()
    assert root == merkle.root(size, read) == plain_root(leaves)
    assert all(read([node])[node] == hashed for node, hashed in kept.items())
    for index in range(size):
        verify_inclusion(index, size, leaves[index], inclusion_proof(index, size, read), root)
    for old in chance.sample(range(1, size), 200):
        verify_consistency(old, size, merkle.root(old, read), root, consistency_proof(old, size, read))


def test_any_change_to_a_proof_is_refused() -> None:
    leaves = hashes(37)
    read, root = reader(leaves), plain_root(leaves)
    for index in range(37):
        proof = inclusion_proof(index, 37, read)
        wrong = [proof[:-1], [*proof, leaves[0]], proof[::-1]]
        wrong += [[*proof[:at], leaf_hash(proof[at]), *proof[at + 1 :]] for at in range(len(proof))]
        for broken in wrong:
            if broken != proof:
                with pytest.raises(ProofError):
                    verify_inclusion(index, 37, leaves[index], broken, root)


@pytest.mark.parametrize(("old", "size"), [(0, 0), (0, 5), (6, 5), (-1, 5)])
def test_no_proof_begins_with_nothing_or_shrinks(old: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"from a tree of {old} leaves"):
        consistency_proof(old, size, reader(hashes(5)))
    with pytest.raises(ProofError, match=f"from a tree of {old} leaves"):
        verify_consistency(old, size, EMPTY_ROOT, EMPTY_ROOT, [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_proof(index, size, reader(hashes(5)))
    with pytest.raises(ProofError, match="has no leaf"):
        verify_inclusion(index, size, EMPTY_ROOT, [], EMPTY_ROOT)


def test_a_frontier_must_fit_its_size() -> None:
    with pytest.raises(ValueError, match="has 2 peaks, not 1"):
        Frontier(5, [EMPTY_ROOT])
