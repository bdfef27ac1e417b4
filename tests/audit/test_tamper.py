"""As a person with the database owner's password: whatever they change is found and named.

By the offline verifier, in an export made from the changed database; by the controller's start, which holds the log
against what was signed outside; or by the controller as it reads the log again.
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps import apps
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from audit import conditions, export_files, proofs
from audit.anchors import FileAnchor, WitnessClient
from audit.checkpoint import Checkpoint, SignerKey, sign_note
from audit.checkpointer import Checkpointer
from audit.export_files import Wanted
from audit.merkle import Frontier, leaf_hash
from audit.models import Checkpoint as Stored
from audit.models import Condition, Event, ExportKind, Leaf, Pending
from audit.scrubber import Scrubber
from audit.selectors import Filters
from audit.sequencer import Sequencer
from audit.verifier import Report, verify
from tests.audit.cast import LOG_KEY, happened
from tests.audit.tampering import owner

pytestmark = pytest.mark.django_db

THIEF = SignerKey(LOG_KEY.name, Ed25519PrivateKey.from_private_bytes(b"t" * 32))
SIZE, HALF = 40, 20
TABLES = [model._meta.db_table for model in apps.get_app_config("audit").get_models()]


def grow(count: int) -> None:
    for number in range(count):
        happened(reason=f"reason {number}")
    Sequencer().tick()


@pytest.fixture
def anchor(tmp_path: Path) -> FileAnchor:
    """A log of 40 events, with checkpoints over 20 and 40 in the database and here."""
    anchor = FileAnchor(tmp_path / "checkpoints")
    for _ in range(2):
        grow(HALF)
        assert start(anchor).tick()
    assert exported().ok and Scrubber().tick() is False
    return anchor


def start(*anchors: FileAnchor, witnesses: tuple[WitnessClient, ...] = ()) -> Checkpointer:
    """A controller that has just been started."""
    return Checkpointer(LOG_KEY, anchors, witnesses, interval=0)


def exported(since: FileAnchor | None = None) -> Report:
    """What the auditor, who has the log's key, finds in an export of the database as it is now."""
    out = io.BytesIO()
    wanted = Wanted(ExportKind.BUNDLE, Filters(), personal=False, size=proofs.newest_size())
    export_files.write(out, wanted, lambda events: None)
    out.seek(0)
    kept_note = since.newest() if since else None
    return verify(out, [LOG_KEY.verifier], since=[kept_note] if kept_note else [])


def stopped(anchor: FileAnchor, **given: Any) -> str:
    """Why the controller signs nothing after a start."""
    turns = start(anchor, **given)
    assert turns.tick() == 0 and turns.stopped
    return turns.stopped


def found() -> str:
    """What the controller found as it read the log again."""
    condition = Condition.objects.get(name=conditions.CONTENTS)
    assert not condition.good
    return condition.detail


def event_at(index: int) -> int:
    return Leaf.objects.get(index=index).event_id


def delete(cursor: CursorWrapper, begin: int, end: int) -> None:
    """Every trace of the events from ``begin`` to before ``end``."""
    events = list(Leaf.objects.filter(index__gte=begin, index__lt=end).values_list("event_id", flat=True))
    cursor.execute('DELETE FROM audit_leaf WHERE "index" >= %s AND "index" < %s', [begin, end])
    for event in events:
        cursor.execute("DELETE FROM audit_personal WHERE event_id = %s", [event])
        cursor.execute("DELETE FROM audit_event WHERE id = %s", [event])


def copy() -> dict[str, tuple[list[str], list[Any]]]:
    """All of the log's tables: columns and rows."""
    with connection.cursor() as cursor:
        found = {}
        for table in TABLES:
            cursor.execute(f"SELECT * FROM {table}")
            found[table] = [f'"{column[0]}"' for column in cursor.description], cursor.fetchall()
        return found


def restore(older: dict[str, tuple[list[str], list[Any]]]) -> None:
    with owner() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM {table}")
        for table, (columns, rows) in older.items():
            places = ", ".join(["%s"] * len(columns))
            if rows:
                cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)


def rewrite(key: SignerKey) -> None:
    """Another event 13; every hash and every checkpoint after it is made anew and fits."""
    with owner() as cursor:
        altered = bytes(Leaf.objects.get(index=13).event.leaf).replace(b"reason 13", b"reason 14")
        cursor.execute("UPDATE audit_event SET leaf = %s WHERE id = %s", [altered, event_at(13)])
        cursor.execute('UPDATE audit_leaf SET hash = %s WHERE "index" = 13', [leaf_hash(altered)])
        sizes = list(Stored.objects.values_list("size", flat=True))
        cursor.execute("DELETE FROM audit_cosignature")
        cursor.execute("DELETE FROM audit_checkpoint")
        sign(key, sizes)


def sign(key: SignerKey, sizes: list[int]) -> None:
    """Checkpoints over the stored leaves, as whoever has ``key`` can make them."""
    edge = Frontier()
    for hashed in Leaf.objects.order_by("index").values_list("hash", flat=True):
        edge.append(bytes(hashed))
        if edge.size in sizes:
            note = sign_note(Checkpoint(key.name, edge.size, edge.root()).text, [key])
            Stored.objects.create(size=edge.size, root=edge.root(), note=note, at=timezone.now())


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessClient]:
    """A witness in a process of its own."""
    state, key = str(tmp_path / "witness"), str(tmp_path / "witness.pem")
    command = [sys.executable, "-m", "audit.witness", "--state", state, "--key", key, "--name", "witness.example/w"]
    command += ["--log", str(LOG_KEY.verifier), "--listen", "127.0.0.1:0"]
    with Popen(command, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        vkey, address = process.stdout.readline().strip(), process.stdout.readline().split()[-1]
        yield WitnessClient(address, vkey)
        process.terminate()


def test_one_byte_of_an_event(anchor: FileAnchor) -> None:
    with owner() as cursor:
        altered = bytes(Leaf.objects.get(index=13).event.leaf).replace(b"reason 13", b"reason 14")
        cursor.execute("UPDATE audit_event SET leaf = %s WHERE id = %s", [altered, event_at(13)])
    report = exported()
    assert not report.ok and report.first_bad == report.first_bad_at_most == 13 and "13" in report.sentence
    Scrubber().tick()
    assert found() == "Event 13 was altered: its bytes do not have the hash that is in the log."


def test_one_byte_of_an_event_and_its_stored_hash(anchor: FileAnchor) -> None:
    with owner() as cursor:
        altered = bytes(Leaf.objects.get(index=13).event.leaf).replace(b"reason 13", b"reason 14")
        cursor.execute("UPDATE audit_event SET leaf = %s WHERE id = %s", [altered, event_at(13)])
        cursor.execute('UPDATE audit_leaf SET hash = %s WHERE "index" = 13', [leaf_hash(altered)])
    report = exported()
    assert not report.ok and report.first_bad is not None and report.first_bad <= 13 < HALF
    assert "The first 40 events are not those of the checkpoint" in stopped(anchor)


def test_a_column_alone(anchor: FileAnchor) -> None:
    """Nothing in the tree speaks of columns, so no proof shows it; the controller that reads the log again does."""
    with owner() as cursor:
        cursor.execute("UPDATE audit_event SET actor_name = 'Bob' WHERE id = %s", [event_at(13)])
    assert exported().ok, "what is exported is the event itself"
    Scrubber().tick()
    assert found() == "Event 13 was altered: what is shown as its actor is not what was recorded."
    assert Event.objects.get(action="log.altered").detail == {"why": found()}


def test_a_personal_value(anchor: FileAnchor) -> None:
    with owner() as cursor:
        cursor.execute(
            "UPDATE audit_personal SET value = '10.0.0.1' WHERE field = 'address' AND event_id = %s", [event_at(13)]
        )
    Scrubber().tick()
    assert found() == "Event 13 was altered: what is shown as its address is not what was recorded."


def test_the_tail_is_deleted(anchor: FileAnchor) -> None:
    with owner() as cursor:
        delete(cursor, 30, SIZE)
    report = exported()
    assert not report.ok and report.first_bad == 30
    assert "over 40 events, and the database has 30" in stopped(anchor)


def test_the_tail_is_deleted_with_every_checkpoint_over_it(anchor: FileAnchor) -> None:
    with owner() as cursor:
        delete(cursor, HALF, SIZE)
        cursor.execute("DELETE FROM audit_checkpoint WHERE size > %s", [HALF])
    assert "The log had 40 events when the kept checkpoint was signed; here it has 20" in exported(anchor).sentence
    assert "over 40 events, and the database has 20" in stopped(anchor)


def test_the_middle_is_deleted(anchor: FileAnchor) -> None:
    with owner() as cursor:
        delete(cursor, 13, 15)
    report = exported()
    assert not report.ok and report.first_bad == 13
    Scrubber().tick()
    assert found() == "Event 13 is gone."
    assert stopped(anchor)


def test_the_middle_is_deleted_and_the_gap_closed(anchor: FileAnchor) -> None:
    with owner() as cursor:
        delete(cursor, 13, 14)
        for index in range(14, SIZE):
            cursor.execute('UPDATE audit_leaf SET "index" = %s WHERE "index" = %s', [index - 1, index])
    report = exported()
    assert not report.ok and report.first_bad is not None
    assert "over 40 events, and the database has 39" in stopped(anchor)


def test_two_events_change_places(anchor: FileAnchor) -> None:
    with owner() as cursor:
        for old, new in ((13, 1000), (14, 13), (1000, 14)):
            cursor.execute('UPDATE audit_leaf SET "index" = %s WHERE "index" = %s', [new, old])
    report = exported()
    assert not report.ok and report.first_bad is not None and report.first_bad <= 13
    assert "The first 40 events are not those of the checkpoint" in stopped(anchor)


def test_an_event_is_inserted_back_dated(anchor: FileAnchor) -> None:
    with owner() as cursor:
        event = happened(reason="it was always so")
        Pending.objects.filter(event=event).delete()
        for index in reversed(range(13, SIZE)):
            cursor.execute('UPDATE audit_leaf SET "index" = %s WHERE "index" = %s', [index + 1, index])
        Leaf.objects.create(index=13, event=event, hash=leaf_hash(bytes(event.leaf)))
    report = exported()
    assert not report.ok and report.first_bad is not None and report.first_bad <= 13
    assert "The first 40 events are not those of the checkpoint" in stopped(anchor)


def test_an_older_copy_is_restored(anchor: FileAnchor) -> None:
    older = copy()
    grow(10)
    assert start(anchor).tick() == 50
    restore(older)
    assert Leaf.objects.count() == Stored.objects.latest("size").size == SIZE
    assert "over 50 events, and the database has 40" in stopped(anchor)
    assert "The log had 50 events when the kept checkpoint was signed; here it has 40" in exported(anchor).sentence


def test_an_older_copy_is_restored_and_the_log_goes_on_from_there(anchor: FileAnchor) -> None:
    older = copy()
    grow(10)
    assert start(anchor).tick() == 50
    restore(older)
    grow(15)
    assert "The first 50 events are not those of the checkpoint in the file" in stopped(anchor)
    sign(LOG_KEY, [Leaf.objects.count()])  # with the log's own key, stolen
    report = exported(anchor)
    assert not report.ok and "50" in report.sentence


def test_the_checkpoint_file_is_rolled_back(anchor: FileAnchor) -> None:
    first, _ = anchor.path.read_bytes().splitlines(keepends=True)
    anchor.path.write_bytes(first)
    assert "was rolled back: its newest checkpoint is over 20 events, and it was given one over 40" in stopped(anchor)
    anchor.path.unlink()
    Condition.objects.filter(name=conditions.SIGNING).update(good=True)
    assert "is gone: it held a checkpoint over 40 events" in stopped(anchor)


def test_everything_on_the_host_is_rolled_back_and_the_witness_remembers(
    anchor: FileAnchor, witness: WitnessClient
) -> None:
    assert start(anchor, witnesses=(witness,)).tick() == 0
    older, file = copy(), anchor.path.read_bytes()
    grow(10)
    assert start(anchor, witnesses=(witness,)).tick() == 50
    restore(older)
    anchor.path.write_bytes(file)
    assert "saw a checkpoint over 50 events, and the newest in the database is over 40" in stopped(
        anchor, witnesses=(witness,)
    )


def test_the_witness_refuses_another_history(anchor: FileAnchor, witness: WitnessClient) -> None:
    grow(1)
    assert start(anchor, witnesses=(witness,)).tick() == 41
    rewrite(LOG_KEY)
    assert "saw another history of this log" in stopped(FileAnchor(anchor.path.with_name("no")), witnesses=(witness,))


def test_the_log_is_rewritten_and_signed_with_another_key(anchor: FileAnchor) -> None:
    rewrite(THIEF)
    report = exported()
    assert not report.ok and "The checkpoint over 20 events is not good" in report.sentence
    assert "The newest checkpoint in the database is not this log's" in stopped(FileAnchor(anchor.path.with_name("no")))


def test_the_log_is_rewritten_and_signed_with_the_stolen_key(anchor: FileAnchor) -> None:
    """All that the database holds fits together again. What was signed before does not."""
    rewrite(LOG_KEY)
    assert exported().ok
    report = exported(anchor)
    assert not report.ok and "40" in report.sentence
    assert "The first 40 events are not those of the checkpoint in the file" in stopped(anchor)
