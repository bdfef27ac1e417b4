"""Whether the log keeps its promises right now. It says nothing of the log's content: anyone may know it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from audit import conditions
from audit.models import Condition, Pending

_OPEN_WRITERS = """
SELECT MAX(EXTRACT(EPOCH FROM clock_timestamp() - activity.xact_start))
  FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
 WHERE held.locktype = 'relation' AND held.relation = 'audit_pending'::regclass
   AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND held.mode = 'RowExclusiveLock' AND held.granted AND held.pid <> pg_backend_pid()
"""
"""The age of the oldest open transaction of another that has recorded an event, in seconds; NULL without one."""


@dataclass(frozen=True)
class LogHealth:
    """``pending`` is the age in seconds of the oldest event that waits for its place, ``unfinished`` that of the oldest
    open transaction that has recorded one (PostgreSQL only: on SQLite it is the one writer, and nobody can ask).
    ``unsigned`` says why nothing is signed, since ``unsigned_since``; empty while all is well."""

    pending: int = 0
    unfinished: int = 0
    unsigned: str = ""
    unsigned_since: datetime | None = None

    @property
    def lag(self) -> int:
        """Seconds by which the log is behind what happens."""
        return max(self.pending, self.unfinished)

    @property
    def is_late(self) -> bool:
        return self.lag > settings.POOLWARDEN_LOG_LAG_SECONDS

    @property
    def late_since(self) -> datetime:
        return timezone.now() - timedelta(seconds=self.lag)


def log_health() -> LogHealth:
    """Two or three small reads. Raises DatabaseError when the database is away."""
    oldest = Pending.objects.order_by("event_id").values_list("event__at", flat=True).first()
    signing = Condition.objects.filter(name=conditions.SIGNING, good=False).first()
    return LogHealth(
        pending=max(int((timezone.now() - oldest).total_seconds()), 0) if oldest else 0,
        unfinished=_unfinished(),
        unsigned=signing.detail if signing else "",
        unsigned_since=signing.at if signing else None,
    )


def _unfinished() -> int:
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_WRITERS)
        return int(cursor.fetchone()[0] or 0)
