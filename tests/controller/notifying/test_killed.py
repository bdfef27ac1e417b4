"""kill -9 of a controller while a receiver has its message: nothing is lost, and the repeat has the same id."""

import http.server
import signal
import subprocess
import threading
from contextlib import suppress

from django.utils import timezone

from pools.controller.notifying import webhook
from pools.models import NotificationChannel, Team
from pools.selectors.messages import sample_message
from tests.controller.installation import Installation
from tests.controller.notifying.conftest import SECRET
from tests.support import factories as make
from tests.support.receivers import Hook, status
from tests.support.waiting import wait_for


def message(hook: Hook) -> NotificationChannel:
    channel = make.channel(Team.objects.create(slug="payments", name="Payments"), url=hook.url())
    channel.deliveries.create(payload=sample_message(channel, "alice", timezone.now()))
    return channel


def test_it_ends_in_time_while_a_receiver_drips(installation: Installation, hook: Hook) -> None:
    message(hook)
    installation.open()
    over = threading.Event()

    def drip(handler: http.server.BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            while not over.wait(0.5):
                handler.wfile.write(b"x")

    hook.answer = drip
    process = installation.controller(POOLWARDEN_WEBHOOK_PRIVATE="1", POOLWARDEN_WEBHOOK_KEY_ONCALL=SECRET)
    wait_for(lambda: hook.requests, timeout=60, message="it has the message")
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=webhook.WHOLE_SECONDS - 2)
    over.set()


def test_killed_between_sending_and_noting(installation: Installation, hook: Hook) -> None:
    message(hook)
    installation.open()
    running: list[subprocess.Popen[str]] = []

    def kill(handler: http.server.BaseHTTPRequestHandler) -> None:
        """It has the message; before the controller can hear so, that is gone."""
        running[0].send_signal(signal.SIGKILL)
        running[0].wait(timeout=10)
        hook.answer = status(204)

    def controller() -> subprocess.Popen[str]:
        return installation.controller(POOLWARDEN_WEBHOOK_PRIVATE="1", POOLWARDEN_WEBHOOK_KEY_ONCALL=SECRET)

    def state() -> tuple[str, int]:
        ((state, attempts),) = installation.query("SELECT state, attempts FROM pools_notificationdelivery")
        return state, attempts

    hook.answer = kill
    running.append(controller())
    wait_for(lambda: running[0].poll() is not None, timeout=60, message="it was killed")
    assert len(hook.requests) == 1 and state() == ("waiting", 0)
    controller()
    wait_for(lambda: state() == ("delivered", 1), timeout=60, message="the next one delivered it")
    first, second = hook.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
