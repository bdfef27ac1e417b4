from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit import conditions, merkle, proofs
from audit.checkpoint import open_checkpoint
from audit.models import Checkpoint, Leaf
from audit.permissions import Denied
from audit.recorder import record
from audit.sequencer import Sequencer
from tests.audit.cast import ANA, PAYMENTS, actor_for, logged
from tests.audit.signing import KEY, WITNESS, checkpointed

pytestmark = pytest.mark.django_db


def many(count: int) -> None:
    for number in range(count):
        record(actor=ANA, action="pool.paused", target=PAYMENTS, reason=f"number {number}")
    Sequencer().tick()


def test_each_event_is_proved_in_the_newest_checkpoint(auditor: Any) -> None:
    many(21)
    checkpointed(size=9)
    newest = checkpointed(witness=True)
    root = open_checkpoint(proofs.full_note(newest).encode(), KEY.verifier).root
    for index in range(21):
        proof = proofs.inclusion(actor_for(auditor), index)
        assert proof.checkpoint == newest and proof.root_hex == root.hex()
        merkle.verify_inclusion(index, 21, proof.leaf_hash, [hashed for _, hashed in proof.path], root)
        found = proof.leaf_hash
        for side, sibling in proof.path:
            found = merkle.node_hash(sibling, found) if side == "left" else merkle.node_hash(found, sibling)
        assert found == root


def test_the_only_event_is_the_root_itself(auditor: Any) -> None:
    logged()
    checkpointed()
    proof = proofs.inclusion(actor_for(auditor), 0)
    assert proof.path == [] and proof.leaf_hash.hex() == proof.root_hex


def test_before_a_checkpoint_covers_it_an_event_has_no_proof(auditor: Any) -> None:
    many(3)
    with pytest.raises(Checkpoint.DoesNotExist):
        proofs.inclusion(actor_for(auditor), 0)
    checkpointed(size=2)
    assert proofs.inclusion(actor_for(auditor), 1).checkpoint.size == 2
    with pytest.raises(Checkpoint.DoesNotExist):
        proofs.inclusion(actor_for(auditor), 2)
    with pytest.raises(Leaf.DoesNotExist):
        proofs.inclusion(actor_for(auditor), 3)


def test_a_note_carries_its_witness(auditor: Any) -> None:
    many(2)
    note = proofs.full_note(checkpointed(witness=True)).encode()
    assert open_checkpoint(note, KEY.verifier).size == 2
    assert open_checkpoint(note, WITNESS.verifier, origin=KEY.name).size == 2


def test_consistency_between_any_two_sizes(auditor: Any) -> None:
    many(9)
    for old in range(1, 10):
        for size in range(old, 10):
            proof = proofs.consistency(actor_for(auditor), old, size)
            merkle.verify_consistency(old, size, proof.old_root, proof.root, proof.path)


def test_without_a_later_size_it_is_the_newest_checkpoints(auditor: Any) -> None:
    many(9)
    checkpointed(size=7)
    assert proofs.consistency(actor_for(auditor), 3, None).size == 7


@pytest.mark.parametrize(
    ("old", "size", "field"),
    [(0, 3, "from"), (-1, 3, "from"), (4, 4, "from"), (2, 1, "to"), (2, 4, "to"), (2, None, "to")],
)
def test_sizes_that_the_log_never_had_are_named(auditor: Any, old: int, size: int | None, field: str) -> None:
    many(3)
    with pytest.raises(proofs.NoSuchTree) as refused:
        proofs.consistency(actor_for(auditor), old, size)
    assert refused.value.field == field and "3 events" in refused.value.message


def test_an_outsider_gets_no_proof(outsider: Any) -> None:
    many(2)
    checkpointed()
    actor = actor_for(outsider)
    for read in (
        lambda: proofs.inclusion(actor, 0),
        lambda: proofs.consistency(actor, 1, 2),
        lambda: proofs.newest_checkpoint(actor),
    ):
        with pytest.raises(Denied):
            read()


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700])
def test_blocks_give_the_proofs_that_the_tree_gives(size: int) -> None:
    many(size)
    blocks, root = proofs.Blocks(), checkpointed().root
    with CaptureQueriesContext(connection) as queries:
        for leaf in Leaf.objects.order_by("index"):
            merkle.verify_inclusion(
                leaf.index, size, bytes(leaf.hash), merkle.inclusion_proof(leaf.index, size, blocks.read), bytes(root)
            )
    assert len(queries) < 12


def test_blocks_say_what_is_lost() -> None:
    many(3)
    with pytest.raises(LookupError, match="lost"):
        proofs.Blocks().read([(0, 5)])


def test_the_badge_of_an_empty_log() -> None:
    badge = proofs.badge()
    assert badge.checkpoint is None and badge.uncovered == 0 and badge.troubles == [] and badge.root == ""


def test_the_badge_tells_how_far_the_log_can_be_checked() -> None:
    many(5)
    newest = checkpointed(size=3, witness=True)
    conditions.report(conditions.SIGNING, good=True, size=3)
    conditions.report(conditions.of_anchor("file /a"), good=True, size=3)
    conditions.report(conditions.of_anchor("folder /b"), good=True, size=2)
    conditions.report(conditions.of_witness("eu"), good=False, detail="It does not answer.", size=1)
    conditions.report(conditions.PROTECTION, good=False, detail="The application owns its tables.")
    badge = proofs.badge()
    assert badge.checkpoint == newest and badge.cosigned == ["witness.example"] and badge.uncovered == 2
    assert badge.verified_at is not None
    assert [(part.label, part.detail) for part in badge.troubles] == [
        ("The log is weakly protected", "The application owns its tables."),
        ("The witness eu does not cosign", "It does not answer."),
    ]
    assert [part.name for part in badge.behind] == ["folder /b"]


def test_the_known_keys_are_the_logs_and_its_witnesses(settings: Any, tmp_path: Any) -> None:
    settings.POOLWARDEN_HOME, settings.POOLWARDEN_WITNESSES = tmp_path, [f"https://w.example|{WITNESS.verifier}"]
    assert proofs.known_keys() == [WITNESS.verifier]
    (tmp_path / "log.vkey").write_text(f"{KEY.verifier}\n")
    assert proofs.known_keys() == [KEY.verifier, WITNESS.verifier]
    (tmp_path / "log.vkey").write_text(f"{KEY.verifier}\nnot a key\n\n")
    assert proofs.known_keys() == [KEY.verifier, WITNESS.verifier]
