"""Notes by e-mail, over a real SMTP server."""

import socket

import pytest
from django.utils import timezone
from pytest_django import Settings

from pools.controller.notifying import mail
from pools.controller.notifying.undeliverable import Undeliverable
from pools.models import NotificationDelivery, Team
from pools.selectors.messages import sample_message
from tests.support import factories as make
from tests.support.receivers import Certificate, Mailbox, mail_server


@pytest.fixture
def delivery(team: Team) -> NotificationDelivery:
    channel = make.channel(team, kind="email", url="", recipients=["bob@example.com", "alice@example.com"])
    return channel.deliveries.create(payload=sample_message(channel, "alice", timezone.now()))


def test_it_arrives(delivery: NotificationDelivery, mailbox: Mailbox, settings: Settings) -> None:
    mail.send(delivery)
    (message,) = mailbox.mails
    assert mailbox.recipients == [["bob@example.com", "alice@example.com"]]
    assert message["To"] == "bob@example.com, alice@example.com"
    assert message["From"] == "poolwarden@console.example.com"
    assert message["Subject"] == f"[Poolwarden {settings.POOLWARDEN_ENV}] A test message over oncall"
    assert message["Message-ID"] == f"<{delivery.message_id}@console.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert "alice asked for it" in message.get_content()


def test_each_attempt_has_the_same_id_and_date(delivery: NotificationDelivery, mailbox: Mailbox) -> None:
    mail.send(delivery)
    mail.send(delivery)
    first, second = mailbox.mails
    assert (first["Message-ID"], first["Date"]) == (second["Message-ID"], second["Date"])


def test_one_recipient_that_is_refused_keeps_it_from_nobody_else(
    delivery: NotificationDelivery, mailbox: Mailbox
) -> None:
    mailbox.refuse = {"bob@example.com"}
    mail.send(delivery)
    assert mailbox.recipients == [["alice@example.com"]]
    mailbox.refuse.add("alice@example.com")
    with pytest.raises(Undeliverable, match="refused every recipient"):
        mail.send(delivery)


@pytest.mark.parametrize("hostile", ["bob@example.com\r\nBcc: eve@example.com", "bob@example.com\nX: y"])
def test_a_line_break_in_an_address_makes_no_header(
    delivery: NotificationDelivery, mailbox: Mailbox, hostile: str
) -> None:
    delivery.channel.recipients = [hostile]
    with pytest.raises(Undeliverable, match="header cannot be written"):
        mail.send(delivery)
    assert mailbox.mails == []


def test_a_line_break_in_a_title_makes_no_header(delivery: NotificationDelivery, mailbox: Mailbox) -> None:
    delivery.payload["data"]["title"] = "x\r\nBcc: eve@example.com"
    with pytest.raises(Undeliverable, match="header cannot be written"):
        mail.send(delivery)
    assert mailbox.mails == []


def test_smtp_demands_tls_before_it_gives_the_password(
    delivery: NotificationDelivery, trusted: Certificate, settings: Settings
) -> None:
    with mail_server(trusted.context) as box:
        settings.POOLWARDEN_SMTP_URL = f"smtp://mailer:s%40cret@localhost:{box.port}"
        mail.send(delivery)
        assert len(box.mails) == 1 and len(box.sign_ins) == 1
    with mail_server() as plain:
        settings.POOLWARDEN_SMTP_URL = f"smtp://mailer:s%40cret@localhost:{plain.port}"
        with pytest.raises(Undeliverable):
            mail.send(delivery)
        assert plain.mails == [] and plain.sign_ins == []


def test_a_mail_server_that_is_another_is_given_nothing(
    delivery: NotificationDelivery, trusted: Certificate, settings: Settings
) -> None:
    with mail_server(trusted.context) as box:
        settings.POOLWARDEN_SMTP_URL = f"smtp://mailer:secret@127.0.0.1:{box.port}"
        with pytest.raises(Undeliverable, match="certificate is not good"):
            mail.send(delivery)
        assert box.sign_ins == []


def test_without_a_server_it_says_what_is_missing(delivery: NotificationDelivery, settings: Settings) -> None:
    settings.POOLWARDEN_SMTP_URL = ""
    with pytest.raises(Undeliverable, match="POOLWARDEN_SMTP_URL is not set"):
        mail.send(delivery)


def test_a_server_that_is_away_or_silent(
    delivery: NotificationDelivery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "STEP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.POOLWARDEN_SMTP_URL = f"smtp+plain://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Undeliverable, match="cannot be spoken to"):
            mail.send(delivery)
    with pytest.raises(Undeliverable, match="cannot be spoken to"):
        mail.send(delivery)
