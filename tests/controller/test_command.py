"""``manage.py controller --once``: what the first start makes, and one line for a start that is refused."""

from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

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
