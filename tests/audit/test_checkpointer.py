"""The log's promises: what is signed, where it goes, and what stops the signing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit import conditions, tree
from audit.anchors import DirectoryAnchor, FileAnchor
from audit.checkpoint import Checkpoint, Note, SignerKey, open_checkpoint, sign_note
from audit.checkpointer import Checkpointer, leaves
from audit.models import Checkpoint as Stored
from audit.models import CheckpointRequest, Condition, Event
from audit.sequencer import Sequencer
from tests.audit.cast import LOG_KEY as KEY
from tests.audit.cast import logged
from tests.audit.tampering import owner

pytestmark = pytest.mark.django_db

OTHER = SignerKey("poolwarden/test", Ed25519PrivateKey.generate())


@pytest.fixture
def file(tmp_path: Path) -> FileAnchor:
    return FileAnchor(tmp_path / "checkpoints")


def checkpointer(
    *anchors: Any,
    key: SignerKey = KEY,
    witnesses: Sequence[Any] = (),
    interval: float = 0,
    retired: Sequence[SignerKey] = (),
) -> Checkpointer:
    return Checkpointer(key, anchors, witnesses, interval=interval, retired=retired)


def newest(anchor: Any) -> Checkpoint:
    note = anchor.newest()
    assert note is not None
    return open_checkpoint(note, KEY.verifier)


def grow(count: int) -> None:
    for _ in range(count):
        logged()


def stopped_for() -> str:
    """Why signing stopped, as the page has it; the event and the log's row say the same."""
    condition = Condition.objects.get(name=conditions.SIGNING)
    assert not condition.good
    event = Event.objects.filter(action="log.signing_stopped").latest("pk")
    assert event.detail == {"why": condition.detail}
    return condition.detail


def test_it_signs_a_log_that_has_grown_and_stores_and_anchors_the_note(file: FileAnchor, tmp_path: Path) -> None:
    folder = DirectoryAnchor(tmp_path / "folder")
    turns = checkpointer(file, folder)
    assert turns.tick() == 0, "an empty log has nothing to promise"
    grow(3)
    assert turns.tick() == 3
    assert turns.tick() == 0, "it has not grown"
    grow(2)
    assert turns.tick() == 5

    assert list(Stored.objects.order_by("size").values_list("size", flat=True)) == [3, 5]
    row = Stored.objects.get(size=5)
    assert bytes(row.root) == tree.root(5) and newest(file).root == tree.root(5) and newest(folder).size == 5
    assert bytes(row.note) == file.newest()
    found = Condition.objects.values_list("name", "good", "size")
    assert set(found) == {("signing", True, 5), (f"anchor:{file.name}", True, 5), (f"anchor:{folder.name}", True, 5)}


def test_it_signs_at_its_interval_or_when_somebody_asks(file: FileAnchor) -> None:
    turns = checkpointer(file, interval=3600)
    grow(1)
    assert turns.tick() == 1
    grow(1)
    assert turns.tick() == 0
    CheckpointRequest.objects.create()
    assert turns.tick() == 2
    assert not CheckpointRequest.objects.exists()
    assert newest(file).size == 2
    CheckpointRequest.objects.create()
    assert turns.tick() == 0 and not CheckpointRequest.objects.exists(), "the newest checkpoint is already over all"


def test_two_controllers_make_one_history(file: FileAnchor) -> None:
    one, two = checkpointer(file), checkpointer(file)
    for turns in (one, two, two, one, two, one):
        grow(1)
        assert turns.tick()
    assert Stored.objects.count() == 6 and not one.stopped and not two.stopped
    grow(1)
    assert one.tick() == 7 and two.tick() == 0, "it is signed already"


def test_a_controller_that_goes_on_while_another_starts_is_no_rollback(file: FileAnchor) -> None:
    """Found by killing controllers: the one that started read the anchor, then how much it had been given."""
    grow(1)
    running = checkpointer(file)
    assert running.tick() == 1

    class Busy(FileAnchor):
        """Read just before the other controller adds to it."""

        def newest(self) -> bytes | None:
            note = super().newest()
            grow(1)
            assert running.tick()
            return note

    starting = checkpointer(Busy(file.path))
    starting.tick()
    assert not starting.stopped and not running.stopped


def test_an_anchor_that_missed_a_checkpoint_gets_the_newest_later(file: FileAnchor, tmp_path: Path) -> None:
    away = FileAnchor(tmp_path / "mount" / "checkpoints")
    turns = checkpointer(file, away)
    grow(1)
    assert turns.tick() == 1
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    (tmp_path / "mount").write_text("no folder")
    for size in (2, 3):
        grow(1)
        assert turns.tick() == size
    condition = Condition.objects.get(name=conditions.of_anchor(away.name))
    assert not condition.good and condition.detail and condition.size == 1

    (tmp_path / "mount").unlink()
    (tmp_path / "unmounted").rename(tmp_path / "mount")
    turns.tick()
    assert newest(away).size == newest(file).size == 3
    assert Condition.objects.get(name=conditions.of_anchor(away.name)).good


def test_an_anchor_that_is_no_longer_used_is_no_trouble(file: FileAnchor) -> None:
    conditions.report(conditions.of_anchor("file /old"), good=False, detail="Cannot write.", size=7)
    checkpointer(file).tick()
    condition = Condition.objects.get(name="anchor:file /old")
    assert condition.good and condition.size == 7


def test_it_waits_at_start_for_an_anchor_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "mount").write_text("no folder")
    away = FileAnchor(tmp_path / "mount" / "checkpoints")
    turns = checkpointer(away)
    grow(1)
    assert turns.tick() == 0 and not Stored.objects.exists()
    condition = Condition.objects.get(name=conditions.SIGNING)
    assert not condition.good and condition.detail.startswith("Signing waits")
    (tmp_path / "mount").unlink()
    assert turns.tick() == 1 and Condition.objects.get(name=conditions.SIGNING).good
    assert not Event.objects.filter(action="log.signing_stopped").exists()


def test_it_signs_nothing_smaller_than_what_an_anchor_holds(file: FileAnchor) -> None:
    """As after a restore of an older copy: the anchor knows of 9 events, the database has 3."""
    file.put(sign_note(Checkpoint(KEY.name, 9, bytes(32)).text, [KEY]), 9)
    grow(3)
    turns = checkpointer(file)
    assert turns.tick() == 0
    assert "over 9 events, and the database has 3" in stopped_for()
    grow(9)
    assert turns.tick() == 0 and not Stored.objects.exists(), "only a restart may begin anew"


def test_it_signs_nothing_inconsistent_with_what_an_anchor_holds(file: FileAnchor) -> None:
    file.put(sign_note(Checkpoint(KEY.name, 2, bytes(32)).text, [KEY]), 2)
    grow(3)
    assert checkpointer(file).tick() == 0
    assert "The first 2 events are not those of the checkpoint in the file" in stopped_for()


def test_what_it_signed_is_remembered_while_it_runs(file: FileAnchor) -> None:
    """The owner takes events and the checkpoints over them from under a running controller, and the log grows again."""
    turns = checkpointer(file)
    for size in (1, 3):
        grow(size - leaves())
        assert turns.tick() == size
    with owner() as cursor:
        cursor.execute("DELETE FROM audit_checkpoint WHERE size = 3")
        cursor.execute('DELETE FROM audit_leaf WHERE "index" >= 1')
    assert turns.tick() == 0
    assert "what was signed before is over 3 events, and the database has 1" in stopped_for()


def test_a_tail_that_is_put_in_place_of_another_is_not_signed(file: FileAnchor) -> None:
    turns = checkpointer(file)
    for size in (1, 3):
        grow(size - leaves())
        assert turns.tick() == size
    with owner() as cursor:
        cursor.execute("DELETE FROM audit_checkpoint WHERE size = 3")
        cursor.execute('DELETE FROM audit_leaf WHERE "index" >= 1')
    grow(4)
    assert turns.tick() == 0
    assert "The first 3 events are not those of the checkpoint in what was signed before" in stopped_for()


def test_a_key_that_did_not_sign_before_does_not_go_on(file: FileAnchor) -> None:
    grow(1)
    assert checkpointer(file).tick() == 1
    grow(1)
    assert checkpointer(file, key=OTHER).tick() == 0
    assert "not this log's" in stopped_for()
    assert Stored.objects.count() == 1


def test_an_anchor_that_was_rolled_back_is_named(file: FileAnchor) -> None:
    grow(1)
    assert checkpointer(file).tick() == 1
    older = file.path.read_bytes()
    grow(1)
    assert checkpointer(file).tick() == 2
    file.path.write_bytes(older)
    assert checkpointer(file).tick() == 0
    assert "rolled back: its newest checkpoint is over 1 event, and it was given one over 2" in stopped_for()


def test_an_anchor_that_was_taken_away_is_named_and_a_new_one_may_begin(file: FileAnchor, tmp_path: Path) -> None:
    grow(1)
    assert checkpointer(file).tick() == 1
    file.path.unlink()
    assert checkpointer(file).tick() == 0
    assert "is gone: it held a checkpoint over 1 event" in stopped_for()
    # What the runbook says: a file under another name has promised nothing yet.
    another = FileAnchor(tmp_path / "another")
    Sequencer().tick()
    assert checkpointer(another).tick() == 2
    assert newest(another).size == 2 and Condition.objects.get(name=conditions.SIGNING).good


def test_the_alarm_is_told_once_and_again_after_a_restart_with_other_words(file: FileAnchor) -> None:
    file.put(sign_note(Checkpoint(KEY.name, 99, bytes(32)).text, [KEY]), 99)
    grow(1)
    for _ in range(3):
        assert checkpointer(file).tick() == 0
    assert Event.objects.filter(action="log.signing_stopped").count() == 1
    Sequencer().tick()
    assert Event.objects.get(action="log.signing_stopped").placed.index == 1, "the alarm itself has its place"


def test_after_a_rotation_the_old_key_vouches_once_for_the_new_one(file: FileAnchor) -> None:
    grow(1)
    assert checkpointer(file).tick() == 1
    turns = checkpointer(file, key=OTHER, retired=[KEY])
    for size in (2, 3):
        grow(1)
        assert turns.tick() == size
    notes = [Note.parse(bytes(row.note)) for row in Stored.objects.order_by("size")]
    both = [KEY.verifier, OTHER.verifier]
    assert [set(note.signed_by(both)) for note in notes] == [{both[0]}, set(both), {both[1]}]
    assert checkpointer(file, key=OTHER, retired=[KEY]).tick() == 0, "a restart finds what both keys signed good"
    assert Condition.objects.get(name=conditions.SIGNING).good
    grow(1)
    assert checkpointer(file).tick() == 0, "who missed the rotation signs nothing"
    assert "is not this log's" in stopped_for()


def test_a_log_that_begins_after_a_rotation_has_nobody_to_convince(file: FileAnchor) -> None:
    grow(1)
    assert checkpointer(file, key=OTHER, retired=[KEY]).tick() == 1
    assert list(Note.parse(bytes(Stored.objects.get().note)).signed_by([KEY.verifier])) == []
