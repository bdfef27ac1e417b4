"""What a webhook gets, checked by other means than ours; and what it cannot make the controller do."""

import base64
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from pools.controller.notifying import webhook
from pools.controller.notifying.undeliverable import Undeliverable
from pools.models import NotificationChannel, NotificationDelivery
from pools.selectors.messages import sample_message
from tests.controller.notifying.conftest import KEY
from tests.support.receivers import Certificate, Hook, Request, hook_server, status

# The example of the Standard Webhooks specification's reference libraries.
VECTOR_KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
VECTOR = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def verify(request: Request, key: bytes) -> None:
    """As a receiver does it, from the specification."""
    stamp = request.headers["webhook-timestamp"]
    assert abs(time.time() - int(stamp)) < 300
    signed = b".".join([request.headers["webhook-id"].encode(), stamp.encode(), request.body])
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"].split(" ") == [f"v1,{expected}"]


@pytest.fixture
def delivery(channel: NotificationChannel) -> NotificationDelivery:
    return channel.deliveries.create(payload=sample_message(channel, "alice", timezone.now()))


def test_the_signature_is_that_of_the_standard() -> None:
    message_id, stamp, body = VECTOR
    at = timezone.datetime.fromtimestamp(stamp, tz=timezone.get_default_timezone())
    headers = webhook.headers_of(message_id, VECTOR_KEY, body, at)
    assert headers["webhook-signature"] == VECTOR_SIGNATURE


def test_it_arrives_signed(delivery: NotificationDelivery, hook: Hook) -> None:
    webhook.send(delivery)
    (request,) = hook.requests
    verify(request, KEY)
    assert request.path == "/hook" and request.headers["webhook-id"] == delivery.message_id
    assert request.headers["host"] == f"127.0.0.1:{hook.port}"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == delivery.payload


@pytest.mark.parametrize("code", [400, 404, 410, 429, 500, 503])
def test_other_answers_are_failures(delivery: NotificationDelivery, hook: Hook, code: int) -> None:
    hook.answer = status(code)
    with pytest.raises(Undeliverable, match=f"^It answered {code}$"):
        webhook.send(delivery)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(delivery: NotificationDelivery, hook: Hook, code: int) -> None:
    hook.answer = status(code, Location=hook.url("/elsewhere"))
    with pytest.raises(Undeliverable, match="redirects are not followed"):
        webhook.send(delivery)
    assert [request.path for request in hook.requests] == ["/hook"]


def test_private_addresses_are_not_connected_to(delivery: NotificationDelivery, hook: Hook, settings: Settings) -> None:
    settings.POOLWARDEN_WEBHOOK_PRIVATE = False
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        delivery.channel.url = hook.url(host=host, scheme="https")
        with pytest.raises(Undeliverable, match="not at a public address"):
            webhook.send(delivery)
    assert hook.connections == 0


def test_the_connection_goes_to_the_address_that_was_checked(
    delivery: NotificationDelivery, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that answers something else the second time is not asked a second time."""
    real, asked = socket.getaddrinfo, []

    def rebinding(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "hooks.test":
            return real(host, *rest, **more)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "169.254.169.254", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    delivery.channel.url = hook.url(host="hooks.test")
    webhook.send(delivery)
    assert asked == ["hooks.test"]
    assert hook.requests[0].headers["host"] == f"hooks.test:{hook.port}"


def test_without_tls_only_loopback_is_spoken_to(delivery: NotificationDelivery) -> None:
    delivery.channel.url = "http://10.255.255.1/hook"
    with pytest.raises(Undeliverable, match="Without TLS"):
        webhook.send(delivery)


def test_over_tls_the_certificate_is_that_of_the_name(delivery: NotificationDelivery, trusted: Certificate) -> None:
    with hook_server(trusted.context) as hook:
        delivery.channel.url = hook.url(host="localhost", scheme="https")
        webhook.send(delivery)
        verify(hook.requests[0], KEY)
        delivery.channel.url = hook.url(host="127.0.0.1", scheme="https")
        with pytest.raises(Undeliverable, match=r"certificate is not good: .*IP address mismatch"):
            webhook.send(delivery)
        assert len(hook.requests) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(
    delivery: NotificationDelivery, trusted: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with hook_server(trusted.context) as hook:
        delivery.channel.url = hook.url(host="localhost", scheme="https")
        with pytest.raises(Undeliverable, match="certificate is not good"):
            webhook.send(delivery)
        assert hook.requests == []


def test_no_proxy_is_asked(delivery: NotificationDelivery, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    webhook.send(delivery)
    assert len(hook.requests) == 1


def test_a_receiver_that_drips_is_cut_off(
    delivery: NotificationDelivery, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes in time; the whole does not."""
    monkeypatch.setattr(webhook, "WHOLE_SECONDS", 0.5)

    never = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 ")
        for _ in range(200):
            handler.wfile.write(b"x")
            never.wait(0.05)

    hook.answer = drip
    began = time.monotonic()
    with pytest.raises(Undeliverable, match="in time"):
        webhook.send(delivery)
    assert time.monotonic() - began < 5


def test_a_receiver_that_says_nothing_is_cut_off(
    delivery: NotificationDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "STEP_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        delivery.channel.url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(Undeliverable, match="in time"):
            webhook.send(delivery)


@pytest.mark.parametrize("answer", [b"", b"\x00\xff garbage\r\n\r\n", b"HTTP/1.1 999999 x\r\n\r\n"])
def test_nonsense_is_a_failure(delivery: NotificationDelivery, hook: Hook, answer: bytes) -> None:
    hook.answer = lambda handler: handler.wfile.write(answer)  # type: ignore[assignment, return-value]
    with pytest.raises(Undeliverable, match="cannot be spoken to"):
        webhook.send(delivery)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "is not set where the controller runs"),
        ("hunter2", "expected whsec_ and 24 to 64 bytes"),
        ("whsec_" + base64.b64encode(b"short").decode(), "expected whsec_ and 24 to 64 bytes"),
        ("whsec_!!!!", "expected whsec_ and 24 to 64 bytes"),
        (base64.b64encode(KEY).decode(), "expected whsec_ and 24 to 64 bytes"),
    ],
)
def test_without_a_good_key_nothing_is_sent(
    delivery: NotificationDelivery, hook: Hook, monkeypatch: pytest.MonkeyPatch, key: str, says: str
) -> None:
    monkeypatch.setenv("POOLWARDEN_WEBHOOK_KEY_ONCALL", key)
    with pytest.raises(Undeliverable, match=f"^POOLWARDEN_WEBHOOK_KEY_ONCALL:? {says}") as said:
        webhook.send(delivery)
    assert hook.connections == 0 and (not key or key not in str(said.value))


def test_the_key_may_be_in_a_file(
    delivery: NotificationDelivery, hook: Hook, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    file = tmp_path / "key"
    file.write_text("whsec_" + base64.b64encode(b"f" * 24).decode() + "\n")
    monkeypatch.delenv("POOLWARDEN_WEBHOOK_KEY_ONCALL")
    monkeypatch.setenv("POOLWARDEN_WEBHOOK_KEY_ONCALL_FILE", str(file))
    webhook.send(delivery)
    verify(hook.requests[0], b"f" * 24)
