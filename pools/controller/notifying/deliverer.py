"""Carries messages to people: at least once, each attempt under the same id, for a day at most."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.db.models import F
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.notifying import mail, webhook
from pools.controller.notifying.undeliverable import Undeliverable
from pools.models import ChannelKind, DeliveryState, NotificationDelivery

AT_ONCE = 8
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=1)
GIVE_UP = timedelta(hours=24)
SENDERS = {ChannelKind.WEBHOOK: webhook.send, ChannelKind.EMAIL: mail.send}

log = structlog.get_logger(__name__)


class Deliverer:
    """One tick tries the oldest message that is due of each channel, eight at once, and then notes what came of it.

    A process that dies between the two has sent a message that is not noted: the next one sends it again, and the
    receiver knows it by its id. While people wait for a slow receiver, no transaction is open and no other loop waits.
    """

    name = "deliverer"
    interval = 1.0

    def __init__(self, lease: LeaderLease) -> None:
        self._lease = lease

    def tick(self) -> bool:
        due = _due(timezone.now())
        if not due:
            return False
        if not self._lease.held():
            raise LeaseLost("the lease ended before a message was sent")
        errors = _attempts(due)
        for delivery, error in zip(due, errors, strict=True):
            with self._lease.fenced():
                _note(delivery, error, timezone.now())
        return True


def _due(now: datetime) -> list[NotificationDelivery]:
    """The oldest of each channel: a receiver that is slow or away delays none but its own."""
    waiting = NotificationDelivery.objects.filter(state=DeliveryState.WAITING, next_attempt_at__lte=now)
    waiting = waiting.filter(channel__enabled=True).select_related("channel__pool")
    first: dict[int, NotificationDelivery] = {}
    for delivery in waiting.order_by("next_attempt_at", "pk"):
        first.setdefault(delivery.channel_id, delivery)
    return list(first.values())[:AT_ONCE]


def _attempts(due: Sequence[NotificationDelivery]) -> list[str]:
    """All at once. In threads that do not keep a process which is to end."""
    errors = [""] * len(due)

    def run(place: int) -> None:
        errors[place] = _attempt(due[place])

    threads = [threading.Thread(target=run, args=[place], daemon=True) for place in range(len(due))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def _attempt(delivery: NotificationDelivery) -> str:
    """Why it did not arrive; empty when it did."""
    try:
        SENDERS[ChannelKind(delivery.channel.kind)](delivery)
    except Undeliverable as error:
        return str(error)
    except Exception as error:
        # A fault of ours with this message; the others go on, and it is said where people look.
        log.exception("notification.fault", delivery=delivery.message_id)
        return f"Defect: {type(error).__name__}"
    return ""


def _note(delivery: NotificationDelivery, error: str, now: datetime) -> None:
    row = NotificationDelivery.objects.filter(pk=delivery.pk, state=DeliveryState.WAITING)
    values = {"attempts": F("attempts") + 1, "last_error": error[:500]}
    if not error:
        row.update(**values, state=DeliveryState.DELIVERED, ended_at=now)
        return
    log.warning("notification.not_delivered", channel=delivery.channel.name, why=error, attempts=delivery.attempts + 1)
    if now - delivery.created_at < GIVE_UP:
        row.update(**values, next_attempt_at=now + wait(delivery.attempts))
    elif row.update(**values, state=DeliveryState.GIVEN_UP, ended_at=now):
        record(
            actor=system_actor("controller"),
            action="notification.given_up",
            target=delivery.channel.target,
            detail={"message": delivery.message_id, "why": error[:500], "attempts": delivery.attempts + 1},
        )


def wait(attempts: int) -> timedelta:
    """Until a message is tried again that failed after ``attempts`` before."""
    doublings: int = 2 ** min(attempts, 10)
    return min(FIRST_WAIT * doublings, LONGEST_WAIT)
