"""Carries outbox rows to the broker: in order, at least once: every receiver bears repeats."""

import time
from collections.abc import Callable, Mapping

import structlog
from django.db import InterfaceError, OperationalError
from django.db.models import F
from django.utils import timezone

from pools.broker.connection import BrokerUnavailable
from pools.controller.lease import LeaderLease, LeaseLost
from pools.models import OutboxMessage

BATCH = 1000
FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0

log = structlog.get_logger(__name__)

type Deliver = Callable[[OutboxMessage], None]


class Relay:
    """One tick delivers what waits.

    Messages about the same thing (a pool, an operation) keep their order: one that fails holds back those behind it and
    nothing else. A broker that cannot be reached fails the tick; any other fault is the message's own.
    """

    name = "relay"
    interval = 0.25

    def __init__(self, lease: LeaderLease, deliver: Mapping[str, Deliver]) -> None:
        self._lease = lease
        self._deliver = deliver
        self._held_back: dict[tuple[str, str], float] = {}

    def tick(self) -> bool:
        now = time.monotonic()
        blocked = {about for about, until in self._held_back.items() if until > now}
        waiting = list(OutboxMessage.objects.filter(published_at=None).order_by("pk")[:BATCH])
        for message in waiting:
            about = _about(message)
            if about in blocked:
                continue
            if not self._lease.held():
                raise LeaseLost("the lease ended between two messages")
            if self._delivered(message):
                self._held_back.pop(about, None)
            else:
                blocked.add(about)
                self._held_back[about] = now + _wait(message.attempts)
        return False

    def _delivered(self, message: OutboxMessage) -> bool:
        try:
            self._deliver[message.kind](message)
        except BrokerUnavailable as error:
            self._note(message, str(error))
            raise
        except (OperationalError, InterfaceError, LeaseLost):
            raise
        except Exception as error:
            # Whatever is wrong with this message must not stop the others; it stays, with its error on the row.
            log.exception("relay.not_delivered", kind=message.kind, key=message.key)
            self._note(message, f"{type(error).__name__}: {error}")
            return False
        self._note(message, "", published=True)
        return True

    def _note(self, message: OutboxMessage, error: str, *, published: bool = False) -> None:
        with self._lease.fenced():
            OutboxMessage.objects.filter(pk=message.pk, published_at=None).update(
                attempts=F("attempts") + 1,
                last_error=error.replace("\x00", "")[:500],
                published_at=timezone.now() if published else None,
            )


def _about(message: OutboxMessage) -> tuple[str, str]:
    """What a message must not overtake another about: configs and run states are about their pool."""
    if message.kind in ("config", "run"):
        return "pool", message.key.rpartition(":")[0]
    return message.kind, message.key


def _wait(attempts: int) -> float:
    """Seconds until a message that failed is tried again."""
    return min(float(FIRST_WAIT * 2 ** min(attempts, 10)), LONGEST_WAIT)
