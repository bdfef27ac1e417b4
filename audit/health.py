"""Whether the log keeps its promises right now. It says nothing of the log's content: anyone may know it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit import conditions

_STATE = """
SELECT (SELECT event.at FROM audit_pending AS waiting JOIN audit_event AS event ON event.id = waiting.event_id
         ORDER BY waiting.event_id LIMIT 1),
       {open_writer}, signing.detail, signing.at
  FROM (SELECT 1) AS always LEFT JOIN audit_condition AS signing ON signing.name = %s AND NOT signing.good
"""
_OPEN_WRITER = """
(SELECT MAX(EXTRACT(EPOCH FROM clock_timestamp() - activity.xact_start))
   FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid)
  WHERE held.locktype = 'relation' AND held.relation = 'audit_pending'::regclass
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND held.mode = 'RowExclusiveLock' AND held.granted AND held.pid <> pg_backend_pid())
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
    """One small read. Raises DatabaseError when the database is away."""
    with connection.cursor() as cursor:
        open_writer = _OPEN_WRITER if connection.vendor == "postgresql" else "NULL"
        cursor.execute(_STATE.format(open_writer=open_writer), [conditions.SIGNING])
        oldest, unfinished, unsigned, since = cursor.fetchone()
    moment = _moment(oldest)
    return LogHealth(
        pending=max(int((timezone.now() - moment).total_seconds()), 0) if moment else 0,
        unfinished=int(unfinished or 0),
        unsigned=unsigned or "",
        unsigned_since=_moment(since),
    )


def _moment(value: datetime | str | None) -> datetime | None:
    """SQLite hands out text, or a time without its zone, which is UTC."""
    found = parse_datetime(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found
