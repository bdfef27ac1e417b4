"""``manage.py controller --once``: what the first start makes, and one line for a start that is refused."""

from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from audit.anchors import FileAnchor
from audit.checkpoint import VerifierKey, open_checkpoint
from audit.models import Event, Leaf
from pools.broker.connection import Broker
from pools.controller.lease import LeaderLease
from pools.models import ConfigVersion, Team
from pools.signing import TrustRoot
from tests.controller.pools import new_pool

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Settings, broker: Broker) -> Path:
    settings.POOLWARDEN_HOME = tmp_path
    settings.POOLWARDEN_ANCHOR_FILE = tmp_path / "anchors" / "checkpoints"
    return tmp_path


def run_once() -> int:
    with pytest.raises(SystemExit) as ended:
        call_command("controller", "--once")
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_one_tick_of_everything(home: Path) -> None:
    new_pool(Team.objects.create(slug="payments", name="Payments"))
    assert run_once() == 0
    root = TrustRoot.parse((home / "trust-root.json").read_bytes())
    created = list(Event.objects.filter(action="key.created").order_by("pk"))
    assert [event.target_name.split()[0] for event in created] == ["config", "log"]
    assert set(root.roles["config"].keys) == {created[0].target_id}
    assert ConfigVersion.objects.get().envelope is not None
    assert Leaf.objects.count() == Event.objects.count()
    assert run_once() == 0
    assert Event.objects.filter(action="key.created").count() == 2


def test_it_signs_the_log_and_hands_out_its_public_key(home: Path, settings: Settings) -> None:
    assert run_once() == 0
    key = VerifierKey.parse((home / "log.vkey").read_text())
    assert key.name == settings.POOLWARDEN_LOG_ORIGIN == "poolwarden/test"
    assert (home / "log.vkey").stat().st_mode & 0o777 == 0o644
    note = FileAnchor(settings.POOLWARDEN_ANCHOR_FILE).newest()
    assert note is not None
    assert open_checkpoint(note, key).size == Leaf.objects.count() > 0
    assert not Event.objects.filter(action="log.signing_stopped").exists()
    weak = Event.objects.get(action="log.protection_weak")
    assert "can change the log" in weak.detail["why"] or "superuser" in weak.detail["why"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("POOLWARDEN_LOG_ORIGIN", "two words", "POOLWARDEN_LOG_ORIGIN: 'two words' will not do: "),
        ("POOLWARDEN_WITNESSES", ["https://w.example"], "POOLWARDEN_WITNESSES: expected URL|KEY"),
    ],
)
def test_a_setting_of_the_log_that_cannot_be_used_stops_the_start(
    settings: Settings, capsys: pytest.CaptureFixture[str], name: str, value: object, said: str
) -> None:
    setattr(settings, name, value)
    assert refused(capsys).startswith(said)


def test_while_another_leads_it_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert LeaderLease().renew()
    assert run_once() == 1
    assert capsys.readouterr().err == "poolwarden controller: another controller leads\n"


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    assert run_once() == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    return said.err.removeprefix("poolwarden controller: ")


def test_a_key_that_others_may_read_stops_the_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "keys").mkdir(mode=0o700)
    (home / "keys" / "config.pem").touch(mode=0o644)
    assert "config.pem has mode 0644, so other users may know its keys: it must be 0600" in refused(capsys)


def test_a_key_that_is_none_stops_the_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "keys").mkdir(mode=0o700)
    (home / "keys" / "config.pem").touch(mode=0o600)
    assert "config.pem does not hold an unencrypted Ed25519 private key" in refused(capsys)


def test_a_home_that_cannot_be_written_stops_the_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "trust-root.json").mkdir()
    assert refused(capsys).startswith(f"cannot write {home}/trust-root.json: ")
