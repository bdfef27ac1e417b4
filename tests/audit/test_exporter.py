import csv
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from audit import export_files, exporter, operations
from audit.actor import Actor, system_actor
from audit.export_files import CSV_COLUMNS
from audit.exporter import Exporter, path_of
from audit.models import Event, Export, ExportState
from audit.selectors import Filters
from audit.sequencer import Sequencer
from audit.target import Target
from audit.verifier import verify
from tests.audit.cast import actor_for, happened, logged
from tests.audit.signing import KEY, WITNESS, checkpointed
from tests.audit.tampering import owner, tamper

pytestmark = pytest.mark.django_db

BOB = Actor(kind="user", id="8", name="Bob", address="192.0.2.7", session="bb")
MEDIA = Target("pool", "12", "media", pool="media")


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it."""


def die(*_: Any, **__: Any) -> None:
    raise Killed


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.POOLWARDEN_HOME = tmp_path
    (tmp_path / "log.vkey").write_text(f"{KEY.verifier}\n")
    return tmp_path


@pytest.fixture
def log() -> None:
    """Ten of Ana's, every third of them Bob's in media; checkpoints over 4 and 10."""
    for number in range(10):
        happened(reason=f"reason {number}", **({"actor": BOB, "target": MEDIA} if number % 3 == 0 else {}))
    Sequencer().tick()
    checkpointed(size=4)
    checkpointed(witness=True)


def asked(auditor: Any, kind: str = "bundle", *, personal: bool = False, **filters: Any) -> Export:
    return operations.request_export(
        actor=actor_for(auditor), kind=kind, filters=Filters(**filters), personal=personal, reason="the audit"
    )


def written(export: Export) -> bytes:
    """The file, once the controller and its checkpointer have done their part."""
    Sequencer().tick()
    checkpointed()
    assert Exporter().tick() is True
    export.refresh_from_db()
    assert export.state == ExportState.DONE, export.error
    return path_of(export).read_bytes()


def lines(bundle: bytes, kind: bytes) -> list[bytes]:
    return [line[2:] for line in bundle.splitlines() if line.startswith(kind + b" ")]


def test_the_whole_log_verifies_offline(log: None, auditor: Any) -> None:
    bundle = written(asked(auditor))
    report = verify(io.BytesIO(bundle), [KEY.verifier])
    assert report.ok and report.size == report.events == 11, report
    assert len(lines(bundle, b"C")) == 3 and lines(bundle, b"P") == []


def test_a_part_verifies_offline(log: None, auditor: Any) -> None:
    bundle = written(asked(auditor, pool="media"))
    report = verify(io.BytesIO(bundle), [KEY.verifier])
    assert report.ok and report.size == 11 and report.events == 4, report
    assert [json.loads(line)["index"] for line in lines(bundle, b"I")] == [0, 3, 6, 9]
    assert [json.loads(line)["from"] for line in lines(bundle, b"K")] == [4, 10]
    assert json.loads(lines(bundle, b"H")[0])["filters"] == {"pool": "media"}


def test_personal_values_only_on_request(log: None, auditor: Any) -> None:
    assert b"192.0.2.7" not in written(asked(auditor, pool="media"))
    bundle = written(asked(auditor, personal=True, pool="media"))
    assert [json.loads(line)["value"] for line in lines(bundle, b"P")] == ["192.0.2.7", "bb"] * 4
    assert verify(io.BytesIO(bundle), [KEY.verifier]).ok


def test_an_altered_event_is_named(log: None, auditor: Any) -> None:
    leaf = bytes(Event.objects.get(placed__index=5).leaf).replace(b"reason 5", b"reason X")
    literal = f"X'{leaf.hex()}'" if connection.vendor == "sqlite" else f"'\\x{leaf.hex()}'::bytea"
    tamper(f"UPDATE audit_event SET leaf = {literal} WHERE reason = 'reason 5'")
    report = verify(io.BytesIO(written(asked(auditor))), [KEY.verifier])
    assert not report.ok and report.first_bad == report.first_bad_at_most == 5, report


def test_the_row_tells_what_was_written(log: None, auditor: Any) -> None:
    export = asked(auditor)
    content = written(export)
    assert export.sha256 == hashlib.sha256(content).hexdigest() and export.size_bytes == len(content)
    assert export.total == export.written == 11 and export.ended_at
    event = Event.objects.latest("id")
    assert (event.action, event.outcome, event.actor_name) == ("audit.exported", "done", "controller")
    assert event.target_id == str(export.uid)
    assert event.detail == {"kind": "bundle", "events": 11, "bytes": len(content), "sha256": export.sha256}


def test_only_its_owner_reads_a_file(log: None, auditor: Any, home: Path) -> None:
    export = asked(auditor)
    written(export)
    assert stat.S_IMODE(path_of(export).stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "exports").stat().st_mode) == 0o700


def test_a_bundle_waits_for_a_checkpoint_over_its_request(log: None, auditor: Any) -> None:
    export = asked(auditor)
    Sequencer().tick()
    assert Exporter().tick() is False
    Export.objects.update(created_at=timezone.now() - exporter.CHECKPOINT_WITHIN - timedelta(seconds=1))
    assert Exporter().tick() is True
    export.refresh_from_db()
    assert export.state == ExportState.DONE and export.written == 10


@pytest.mark.parametrize("filters", [{}, {"actor": "Bob"}])
def test_without_any_checkpoint_a_bundle_fails_and_says_why(auditor: Any, filters: dict[str, str]) -> None:
    export = asked(auditor, **filters)
    Export.objects.update(created_at=timezone.now() - timedelta(hours=1))
    assert Exporter().tick() is True
    export.refresh_from_db()
    assert export.state == ExportState.FAILED and "no checkpoint" in export.error
    assert Event.objects.latest("id").outcome == "failed" and not path_of(export).exists()
    assert Exporter().tick() is False


def test_a_checkpoint_that_cannot_be_read_stops_one_export_and_not_those_after_it(log: None, auditor: Any) -> None:
    broken, whole = asked(auditor), asked(auditor, "jsonl")
    Sequencer().tick()
    checkpointed()
    with owner() as cursor:
        cursor.execute("UPDATE audit_checkpoint SET note = %s", [b"\xff"])
    assert Exporter().tick() is True and Exporter().tick() is True
    broken.refresh_from_db()
    whole.refresh_from_db()
    assert (broken.state, whole.state) == (ExportState.FAILED, ExportState.DONE)


def test_csv_is_neutral_to_spreadsheets(auditor: Any) -> None:
    for reason in ('=HYPERLINK("http://x")', "+1", "-2", "@SUM(A1)", "plain, with ünusual\nlines"):
        logged(reason=reason, detail={"note": reason})
    content = written(asked(auditor, "csv")).decode()
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert tuple(rows[0]) == CSV_COLUMNS and len(rows) == 6
    assert [row["reason"][:2] for row in rows[:5]] == ["'=", "'+", "'-", "'@", "pl"]
    assert rows[4]["reason"] == "plain, with ünusual\nlines" and rows[0]["index"] == "0"
    assert rows[0]["sentence"] == "Ana Ruiz paused payments" and rows[0]["address"] == ""
    assert json.loads(rows[0]["detail"])["note"].startswith("=HYPERLINK")


def test_json_lines_are_the_events_of_the_api(log: None, auditor: Any) -> None:
    export = asked(auditor, "jsonl", personal=True, actor="Bob")
    items = [json.loads(line) for line in written(export).splitlines()]
    assert [item["index"] for item in items] == [0, 3, 6, 9] and export.written == export.total == 4
    assert items[0]["address"] == "192.0.2.7" and items[0]["at"].endswith("Z") and items[0]["target"]["name"] == "media"
    assert all(item["address"] == "" for item in map(json.loads, written(asked(auditor, "jsonl")).splitlines()))


def test_a_personal_target_is_not_given_away(auditor: Any) -> None:
    logged(action="session.sign_in_failed", outcome="failed", target=Target("account", "", "her-password"))
    for kind in ("csv", "jsonl", "bundle"):
        assert b"her-password" not in written(asked(auditor, kind))
        assert b"her-password" in written(asked(auditor, kind, personal=True))


def test_slices_come_together(log: None, auditor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_files, "SLICE", 3)
    whole, part = written(asked(auditor)), written(asked(auditor, pool="media"))
    assert verify(io.BytesIO(whole), [KEY.verifier]).events == 11
    assert verify(io.BytesIO(part), [KEY.verifier]).events == 4
    assert len(written(asked(auditor, "jsonl")).splitlines()) == 15  # with four events of exports


def test_killed_mid_way_it_is_done_again_from_the_start(
    log: None, auditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = asked(auditor)
    Sequencer().tick()
    checkpointed()

    monkeypatch.setattr(os, "fsync", die)
    with pytest.raises(Killed):
        Exporter().tick()
    export.refresh_from_db()
    assert export.state == ExportState.RUNNING and not path_of(export).exists()
    draft = path_of(export).with_name(f".{export.uid}.draft")
    draft.write_bytes(b"what a killed controller leaves")
    monkeypatch.undo()
    assert Exporter().tick() is True
    export.refresh_from_db()
    assert export.state == ExportState.DONE and not draft.exists()
    assert verify(io.BytesIO(path_of(export).read_bytes()), [KEY.verifier]).ok


def test_ended_between_file_and_row_it_is_done_again(log: None, auditor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    export = asked(auditor)
    Sequencer().tick()
    checkpointed()

    monkeypatch.setattr(exporter, "record", die)
    with pytest.raises(Killed), transaction.atomic():
        Exporter().tick()
    monkeypatch.undo()
    assert Exporter().tick() is True
    export.refresh_from_db()
    assert export.state == ExportState.DONE and Event.objects.filter(action="audit.exported").count() == 1


def test_a_full_disk_fails_the_export_and_not_the_controller(
    log: None, auditor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = asked(auditor, "csv")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert Exporter().tick() is True
    export.refresh_from_db()
    assert export.state == ExportState.FAILED and "No space left" in export.error
    assert list(path_of(export).parent.iterdir()) == []


def test_a_file_goes_after_a_week_and_its_row_stays(log: None, auditor: Any) -> None:
    export = asked(auditor, "csv")
    written(export)
    Exporter().tick()
    assert exporter.is_kept(export)
    Export.objects.update(ended_at=timezone.now() - exporter.KEPT - timedelta(minutes=1))
    Exporter().tick()
    assert not path_of(export).exists() and Export.objects.filter(pk=export.pk).exists()


def test_an_erasure_takes_files_with_personal_values_along(log: None, auditor: Any) -> None:
    with_values, without = asked(auditor, "csv", personal=True), asked(auditor, "csv")
    written(with_values)
    assert Exporter().tick()
    operations.erase_personal(
        actor=system_actor("command-line"), index=0, field="", everywhere=False, reason="She asked for it"
    )
    later = asked(auditor, "csv", personal=True)
    assert b"192.0.2.7" in written(later)  # Bob's other events
    assert not path_of(with_values).exists() and path_of(without).exists()
    Exporter().tick()
    assert path_of(later).exists()


def test_downloading(log: None, auditor: Any, outsider: Any, client: Client) -> None:
    export = asked(auditor, "csv")
    content, events = written(export), Event.objects.count()
    url = f"/audit/exports/{export.uid}/"
    client.force_login(auditor)
    shown = client.get("/audit/exports/").content.decode()
    assert f'href="{url}"' in shown and export.sha256 in shown and "Done" in shown
    answer = client.get(url)
    assert b"".join(answer) == content  # type: ignore[call-overload]
    assert answer["Content-Disposition"] == f'attachment; filename="poolwarden-audit-{export.pk}.csv"'
    assert Event.objects.count() == events
    assert client.post(url).status_code == 405
    path_of(export).unlink()
    assert client.get(url).status_code == 404
    assert "no longer kept" in client.get("/audit/exports/").content.decode()
    client.force_login(outsider)
    assert client.get(url).status_code == 403


def test_the_command_writes_a_bundle_of_the_whole_log(log: None, tmp_path: Path, capsys: Any) -> None:
    call_command("audit_export", "--out", tmp_path / "log.bundle")
    assert verify((tmp_path / "log.bundle").open("rb"), [KEY.verifier]).events == 10
    assert "10 events" in capsys.readouterr().out
    assert [event.action for event in Event.objects.order_by("-id")[:2]] == ["audit.exported", "audit.export_requested"]


def test_the_command_takes_filters(log: None, tmp_path: Path) -> None:
    call_command("audit_export", "--out", tmp_path / "part", "--actor", "Bob", "--since", "2020-01-01", "--personal")
    bundle = (tmp_path / "part").read_bytes()
    report = verify(io.BytesIO(bundle), [KEY.verifier], [WITNESS.verifier])
    assert report.ok and report.events == 4 and b"192.0.2.7" in bundle


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--since", "soonish"], "--since"),
        (["--action", "pool.painted"], "--action"),
        (["--out", "/nonexistent/folder/file"], "--out: cannot write"),
    ],
)
def test_the_command_says_what_is_wrong(log: None, tmp_path: Path, options: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("audit_export", *(["--out", str(tmp_path / "x")] if "--out" not in options else []), *options)
    assert not (tmp_path / "x").exists()


def test_the_command_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no checkpoint"):
        call_command("audit_export", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_killed_mid_way_another_controller_writes_it_whole(own_database: str) -> None:
    environ = os.environ | {"POOLWARDEN_DATABASE_URL": own_database}
    done = subprocess.run(
        [sys.executable, "-m", "tests.audit.export_run", "2000"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["killed"]["state"] == "running" and 0 < told["killed"]["written"] < 2001
    assert told["killed"]["files"] == [".uid.draft"]
    assert told["done"] == {"state": "done", "written": 2001, "total": 2001, "files": ["uid"]}
    assert told["ok"] and told["events"] == 2001
