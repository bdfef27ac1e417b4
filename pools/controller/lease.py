"""The leader's lease: one row in the database, held by compare-and-set.

1. A holder extends the lease every 2 s, from a thread of its own; it ends 6 s after the last extension.
2. Another controller may take it only after its end, by an UPDATE that names the holder it replaces.
3. The holder stops acting 1 s before its end, counted by its own steady clock from *before* it asked.
4. Writes that matter end with ``confirm``: a transaction of a replaced leader rolls back.

Ends are judged by the database's clock alone, so hosts need not agree on the time.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction
from django.db.models.functions import Now

from audit.actor import system_actor
from audit.recorder import record
from audit.target import Target
from pools.models import ControllerLease

TTL = 6.0
RENEW_EVERY = 2.0
STANDBY_EVERY = 1.0
MARGIN = 1.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """This process does not lead, or not any more."""


class LeaderLease:
    """``holder`` names this process; no two processes have the same."""

    def __init__(self) -> None:
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._held_until = 0.0
        self._error = ""

    def held(self) -> bool:
        """May this process act now? Asks nobody."""
        return time.monotonic() < self._held_until

    def renew(self) -> bool:
        """Extend the lease, or take it when its holder let it end. Raises DatabaseError or InterfaceError."""
        asked_at = time.monotonic()
        with transaction.atomic():
            leads = self._extend() or self._take_over()
        self._held_until = asked_at + TTL - MARGIN if leads else 0.0
        return leads

    def release(self) -> None:
        """End the lease now, so that a successor need not wait. Raises DatabaseError or InterfaceError."""
        self._held_until = 0.0
        ControllerLease.objects.filter(pk=1, holder=self.holder).update(expires_at=LONG_AGO)

    def confirm(self) -> None:
        """Raise LeaseLost unless the row still names this process; the last statement of a fenced transaction.

        The row's lock keeps a successor out until the transaction has committed (SQLite has one writer anyway).
        """
        if not ControllerLease.objects.select_for_update(no_key=True).filter(pk=1, holder=self.holder).exists():
            raise LeaseLost(f"{self.holder} was replaced")

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """A transaction that commits only while this process leads."""
        with transaction.atomic():
            yield
            self.confirm()

    def keep(self, stop: threading.Event) -> None:
        """Renew until ``stop``; runs in a thread of its own."""
        while not stop.is_set():
            led = self.held()
            leads = self._renewed()
            if leads != led:
                log.info("controller.leads" if leads else "controller.stands_by", holder=self.holder)
            stop.wait(RENEW_EVERY if leads else STANDBY_EVERY)
        connection.close()

    def _renewed(self) -> bool:
        close_old_connections()
        try:
            leads = self.renew()
        except (DatabaseError, InterfaceError) as error:
            if str(error) != self._error:
                log.warning("controller.lease_not_renewed", error=str(error).strip())
            self._error = str(error)
            return self.held()
        self._error = ""
        return leads

    def _extend(self) -> bool:
        mine = ControllerLease.objects.filter(pk=1, holder=self.holder)
        return bool(mine.update(expires_at=Now() + timedelta(seconds=TTL)))

    def _take_over(self) -> bool:
        ControllerLease.objects.get_or_create(pk=1, defaults={"expires_at": LONG_AGO, "acquired_at": LONG_AGO})
        before = ControllerLease.objects.get(pk=1).holder
        taken = ControllerLease.objects.filter(pk=1, holder=before, expires_at__lt=Now()).update(
            holder=self.holder, acquired_at=Now(), expires_at=Now() + timedelta(seconds=TTL)
        )
        if taken:
            record(
                actor=system_actor("controller"),
                action="controller.took_over",
                target=Target(kind="controller", id=self.holder, name=self.holder),
                before={"holder": before} if before else None,
                after={"holder": self.holder},
            )
        return bool(taken)
