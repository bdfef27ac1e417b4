"""``manage.py audit_rotate_key``: recorded with both keys, refused while a controller leads."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from pytest_django import Settings

from audit.actor import system_actor
from audit.anchors import FileAnchor
from audit.checkpoint import VerifierKey, open_checkpoint
from audit.models import Checkpoint, Condition, Event
from audit.proofs import known_keys
from audit.recorder import record
from audit.sentences import sentence
from audit.sequencer import Sequencer
from audit.target import Target
from audit.verifier import verify
from pools.controller.keyring import open_keyring
from pools.controller.lease import LeaderLease
from pools.controller.log_checkpoints import LogCheckpoints, log_key

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(settings: Settings, tmp_path: Path) -> Path:
    settings.POOLWARDEN_HOME = tmp_path / "home"
    open_keyring(settings.POOLWARDEN_HOME, lambda *_: None)
    return tmp_path / "home"


def rotate(reason: str = "Ana left") -> str:
    out = io.StringIO()
    call_command("audit_rotate_key", reason=reason, stdout=out, stderr=io.StringIO())
    return out.getvalue().strip()


def test_it_records_both_keys_and_prints_the_new_one(home: Path) -> None:
    old = open_keyring(home, lambda *_: None).log.public_key
    printed = VerifierKey.parse(rotate())
    keyring = open_keyring(home, lambda *_: None)
    event = Event.objects.get(action="key.rotated")
    new = keyring.log.public_key
    assert (event.before["keyid"], event.after["keyid"], event.reason) == (old.keyid, new.keyid, "Ana left")
    assert event.after["public"] == printed.public.hex() and event.before["public"] == old.keyval["public"]
    assert sentence(event) == f"Command line replaced key log {old.keyid[:12]} by log {new.keyid[:12]}"
    assert known_keys()[0] == printed and len(known_keys()) == 2
    assert LeaderLease().renew(), "the lease is free again"


def test_while_a_controller_leads_nothing_is_changed(home: Path) -> None:
    assert LeaderLease().renew()
    before = {path: path.read_bytes() for path in home.rglob("*.pem")}
    with pytest.raises(CommandError, match="stop every controller first"):
        rotate()
    assert {path: path.read_bytes() for path in home.rglob("*.pem")} == before
    assert not Event.objects.filter(action="key.rotated").exists()


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001])
def test_a_reason_is_needed(home: Path, reason: str) -> None:
    with pytest.raises(CommandError, match=r"^--reason: "):
        rotate(reason)
    assert open_keyring(home, lambda *_: None).retired == []


def test_a_bundle_verifies_across_the_rotation(home: Path, tmp_path: Path, settings: Settings) -> None:
    """With both keys all of it; with the old key alone, as far as it vouches."""
    settings.POOLWARDEN_ANCHOR_FILE = tmp_path / "checkpoints"
    old = log_key(open_keyring(home, lambda *_: None)).verifier

    def sign() -> None:
        """A controller starts, signs once and ends."""
        Sequencer().tick()
        LogCheckpoints(open_keyring(home, lambda *_: None)).tick()
        with transaction.atomic():
            record(actor=system_actor("test"), action="pool.paused", target=Target("pool", "1", "payments", "payments"))

    with transaction.atomic():
        record(actor=system_actor("test"), action="pool.paused", target=Target("pool", "1", "payments", "payments"))
    sign()
    rotate()
    sign()
    vouched = FileAnchor(tmp_path / "checkpoints").newest() or b""
    sign()
    assert Condition.objects.get(name="signing").good and Checkpoint.objects.count() == 3
    size = open_checkpoint(vouched, old).size
    assert Event.objects.get(action="key.rotated").placed.index < size, "the old key signed that it was replaced"
    call_command("audit_export", out=tmp_path / "log.bundle", stdout=io.StringIO(), stderr=io.StringIO())
    with (tmp_path / "log.bundle").open("rb") as bundle:
        assert verify(bundle, known_keys()).ok
    with (tmp_path / "log.bundle").open("rb") as bundle:
        report = verify(bundle, [old])
    assert not report.ok and "signed" in report.sentence
