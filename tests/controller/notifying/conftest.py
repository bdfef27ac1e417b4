"""A channel to a receiver on loopback, and what the controller needs to reach it."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from pools.models import NotificationChannel, Pool, Team
from tests.support import factories as make
from tests.support.receivers import Certificate, Hook, Mailbox, certificate, hook_server, mail_server

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as hook:
        yield hook


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    with mail_server() as box:
        settings.POOLWARDEN_SMTP_URL = f"smtp+plain://127.0.0.1:{box.port}"
        settings.POOLWARDEN_MAIL_FROM = "poolwarden@console.example.com"
        yield box


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    """A certificate for ``localhost`` that this process trusts."""
    made = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


@pytest.fixture
def pool(team: Team) -> Pool:
    make.broker(scanned_at=make.ago(seconds=5))
    return make.pool(team)


@pytest.fixture
def channel(
    team: Team, pool: Pool, hook: Hook, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> NotificationChannel:
    """A webhook of the team's; the controller has its key and may reach loopback."""
    settings.POOLWARDEN_WEBHOOK_PRIVATE = True
    settings.POOLWARDEN_PUBLIC_URL = "https://console.example.com"
    monkeypatch.setenv("POOLWARDEN_WEBHOOK_KEY_ONCALL", SECRET)
    return make.channel(team, url=hook.url())
