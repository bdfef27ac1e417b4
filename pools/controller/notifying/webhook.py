"""Sends a message to a webhook: signed as https://www.standardwebhooks.com says, to a checked address, once."""

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from django.utils import timezone

from controlplane.env import Env, EnvError
from pools import __version__
from pools.controller.notifying.addresses import checked_address, is_loopback
from pools.controller.notifying.deadline import deadline
from pools.controller.notifying.undeliverable import Undeliverable
from pools.models import NotificationChannel, NotificationDelivery

STEP_SECONDS = 5.0
WHOLE_SECONDS = 10.0
KEY_PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def send(delivery: NotificationDelivery) -> None:
    """One attempt; any 2xx is a success. Raises Undeliverable. Touches no database."""
    body = json.dumps(delivery.payload, sort_keys=True).encode()
    key = signing_key(delivery.channel)
    status = _post(delivery.channel.url, body, headers_of(delivery.message_id, key, body, timezone.now()))
    if 300 <= status < 400:
        raise Undeliverable(f"It answered {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise Undeliverable(f"It answered {status}")


def headers_of(message_id: str, key: bytes, body: bytes, at: datetime) -> dict[str, str]:
    """The id is that of the message, the time that of the attempt; both are signed with the body."""
    timestamp = str(int(at.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": f"Poolwarden/{__version__}",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }


def signing_key(channel: NotificationChannel) -> bytes:
    """The channel's key, from the environment of the controller. Raises Undeliverable."""
    variable = f"POOLWARDEN_WEBHOOK_KEY_{channel.key_suffix}"
    try:
        text = Env().secret(variable)
    except EnvError as error:
        raise Undeliverable(str(error)) from error
    if not text:
        raise Undeliverable(f"{variable} is not set where the controller runs")
    try:
        key = base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(KEY_PREFIX) or len(key) not in KEY_BYTES:
        raise Undeliverable(f"{variable}: expected {KEY_PREFIX} and 24 to 64 bytes in base64")
    return key


def _post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The answer's status. Its headers and body are for nobody."""
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    address = checked_address(host, port)
    if not secure and not is_loopback(address):
        raise Undeliverable("Without TLS only a receiver on the controller's own host is reached")
    connection = _Pinned(host, port, secure=secure)
    try:
        connected = socket.create_connection((address, port), STEP_SECONDS)
        with connected, deadline(connected, WHOLE_SECONDS):
            connection.use(connected)
            connection.request("POST", parts.path or "/", body, dict(headers))
            with connection.getresponse() as response:
                return response.status
    except ssl.SSLCertVerificationError as error:
        raise Undeliverable(f"Its certificate is not good: {error.verify_message}") from error
    except TimeoutError as error:
        raise Undeliverable("It did not answer in time") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Undeliverable(f"It cannot be spoken to: {type(error).__name__}") from error
    finally:
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection over a socket that is there: nothing is resolved again, and no proxy is asked."""

    def __init__(self, host: str, port: int, *, secure: bool) -> None:
        super().__init__(host, port)
        self.default_port = 443 if secure else 80
        self._secure = secure
        self.auto_open = 0

    def use(self, connected: socket.socket) -> None:
        """With TLS: the certificate must be that of the host's name, wherever the socket leads."""
        context = ssl.create_default_context()
        self.sock = context.wrap_socket(connected, server_hostname=self.host) if self._secure else connected
