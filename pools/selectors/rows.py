"""Pools as rows of a table: figures, each with its tone, and a status in words. The normal state is quiet."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from pools.models import Criticality, Pool, PoolKind, PoolNow, RunState
from pools.selectors.fleet import Presence
from pools.selectors.phrases import jobs, names

LONG_WAIT = timedelta(minutes=5)
MANY_FAILURES = 10  # below it, an hour's failures are never red
FAILING_SHARE = 0.1
CRITICALITIES = [*Criticality]


@dataclass(frozen=True)
class Status:
    """``tone`` is bad, warn, run or out for a chip; empty for calm text."""

    tone: str
    icon: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class PoolRow:
    presence: Presence
    status: Status
    spark: list[int]

    @property
    def pool(self) -> Pool:
        return self.presence.pool

    @property
    def now(self) -> PoolNow | None:
        return self.presence.now

    @property
    def has_no_workers(self) -> bool:
        return self.status.icon == "user-off"

    @property
    def present(self) -> str:
        """``0 of 8 present``: how many workers there should be when none is."""
        wanted = self.now.wanted if self.now else 0
        return f"of {wanted} present" if wanted else "present"

    @property
    def busy_tone(self) -> str:
        """Warn when every worker is busy and jobs wait longer than they should."""
        now = self.now
        full = now is not None and now.workers > 0 and now.busy >= now.workers
        return "warn" if full and now is not None and now.waiting > now.workers else ""

    @property
    def spark_tone(self) -> str:
        return "bad" if self.has_no_workers and self.presence.waiting else self.busy_tone

    @property
    def oldest(self) -> datetime | None:
        return self.now.oldest_enqueued_at if self.now else None

    @property
    def oldest_tone(self) -> str:
        late = self.oldest is not None and timezone.now() - self.oldest > LONG_WAIT
        return "bad" if late and self.presence.is_taking_jobs else ""

    @property
    def failed_tone(self) -> str:
        """Red when a tenth of an hour's jobs failed."""
        now = self.now
        if now is None or now.failed_last_hour < MANY_FAILURES:
            return ""
        ended = now.failed_last_hour + 60 * now.done_per_minute
        return "bad" if now.failed_last_hour > FAILING_SHARE * ended else ""

    @property
    def drifting(self) -> str:
        """``12 on v22``: the workers that run another version than told."""
        drift = self.presence.drift
        if not drift:
            return ""
        number = max(drift, key=lambda version: drift[version])
        return f"{sum(drift.values())} on v{number}" if len(drift) == 1 else f"{sum(drift.values())} on older versions"

    @property
    def rank(self) -> tuple[int, int, str]:
        """Those in trouble first, then by criticality, then by name."""
        trouble = {"bad": 0, "warn": 1}.get(self.status.tone, 2)
        if trouble == 2 and (self.drifting or self.failed_tone or self.oldest_tone):
            trouble = 1
        return trouble, CRITICALITIES.index(Criticality(self.pool.criticality)), self.pool.slug


def rows_of(presences: list[Presence], sparks: dict[int, list[int]]) -> list[PoolRow]:
    rows = [PoolRow(presence, status_of(presence), sparks.get(presence.pool.pk, [])) for presence in presences]
    return sorted(rows, key=lambda row: row.rank)


def status_of(presence: Presence) -> Status:
    """The one most urgent thing to say of a pool."""
    return _trouble(presence) or _by_hand(presence) or _plain(presence)


def _trouble(presence: Presence) -> Status | None:
    pool = presence.pool
    if presence.refusing:
        return Status("bad", "ban", "Refused", f"by {names([s.agent.name for s in presence.refusing])}")
    if presence.not_starting:
        return Status("bad", "alert-triangle", "Cannot start", names([s.agent.name for s in presence.not_starting]))
    if pool.run_state != RunState.RUNNING or presence.workers:
        return None
    wanted = presence.now.wanted if presence.now else 0
    if wanted or (presence.waiting and pool.kind != PoolKind.MANAGED):
        return Status("bad", "user-off", "No workers", f"wants {wanted}" if wanted else "")
    if pool.kind == PoolKind.MANAGED and pool.published_number and not presence.live:
        return Status("bad" if presence.waiting else "warn", "server-off", "No agent", "none serves it")
    return None


def _by_hand(presence: Presence) -> Status | None:
    pool, command = presence.pool, presence.command
    by = command.issued_by if command else ""
    missing = len(presence.live) - len(presence.applied)
    if pool.run_state == RunState.PAUSED:
        return Status(
            "warn", "player-pause", "Paused", f"not yet by {missing} of {len(presence.live)}" if missing else by
        )
    if pool.run_state == RunState.DRAINING:
        busy = presence.now.busy if presence.now else 0
        return Status("run", "droplet-half", "Draining", f"{jobs(busy)} left" if busy else "empty")
    return None


def _plain(presence: Presence) -> Status:
    pool = presence.pool
    if pool.kind == PoolKind.ATTACHED:
        return Status("out", "link", "Attached", "stock rq workers")
    if presence.newest and not presence.published:
        return Status("run", "signature", "Being signed")
    if pool.kind == PoolKind.MANAGED and presence.live and not presence.workers:
        return Status("", "circle-dashed", "No workers asked for")
    return Status("", "player-play", "Running")
