"""Sends a message as plain text e-mail, over the SMTP server that the installation names."""

import smtplib
import ssl
from contextlib import closing, suppress
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import structlog
from django.conf import settings

from pools.controller.notifying.deadline import deadline
from pools.controller.notifying.undeliverable import Undeliverable
from pools.models import NotificationDelivery
from pools.selectors.messages import as_text

STEP_SECONDS = 5.0
WHOLE_SECONDS = 20.0

log = structlog.get_logger(__name__)


def send(delivery: NotificationDelivery) -> None:
    """One attempt: the server takes it for one recipient at least, and whom it refuses is in the log. Raises
    Undeliverable. Touches no database."""
    if not settings.POOLWARDEN_SMTP_URL:
        raise Undeliverable("POOLWARDEN_SMTP_URL is not set where the controller runs")
    message = message_of(delivery)
    try:
        server = _connected()
        assert server.sock is not None
        with closing(server), deadline(server.sock, WHOLE_SECONDS):
            _sign_in(server)
            refused = server.send_message(message)
            with suppress(OSError, smtplib.SMTPException):  # it has the message: whatever it says now, do not repeat it
                server.quit()
    except ssl.SSLCertVerificationError as error:
        raise Undeliverable(f"The mail server's certificate is not good: {error.verify_message}") from error
    except smtplib.SMTPRecipientsRefused as error:
        raise Undeliverable("The mail server refused every recipient") from error
    except smtplib.SMTPResponseException as error:
        raise Undeliverable(f"The mail server answered {error.smtp_code}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise Undeliverable(f"The mail server cannot be spoken to: {type(error).__name__}") from error
    if refused:
        log.warning("notification.recipients_refused", channel=delivery.channel.name, recipients=sorted(refused))


def message_of(delivery: NotificationDelivery) -> EmailMessage:
    """``EmailMessage`` refuses a header with a line break; an address or a title that has one got past two checks."""
    message, data = EmailMessage(), delivery.payload["data"]
    try:
        message["Subject"] = f"[Poolwarden {data['environment']}] {data['title']}"
        message["From"] = settings.POOLWARDEN_MAIL_FROM
        message["To"] = ", ".join(delivery.channel.recipients)
    except ValueError as error:
        raise Undeliverable("A header cannot be written: see the channel's recipients") from error
    message["Date"] = format_datetime(delivery.created_at)
    message["Message-ID"] = f"<{delivery.message_id}@{settings.POOLWARDEN_MAIL_FROM.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(as_text(delivery.payload))
    return message


def _connected() -> smtplib.SMTP:
    parts = urlsplit(settings.POOLWARDEN_SMTP_URL)
    host = parts.hostname or ""
    if parts.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, parts.port or 465, timeout=STEP_SECONDS, context=context)
    return smtplib.SMTP(host, parts.port or (587 if parts.scheme == "smtp" else 25), timeout=STEP_SECONDS)


def _sign_in(server: smtplib.SMTP) -> None:
    parts = urlsplit(settings.POOLWARDEN_SMTP_URL)
    if parts.scheme == "smtp":
        server.starttls(context=ssl.create_default_context())
    if parts.username:
        server.login(unquote(parts.username), unquote(parts.password or ""))
