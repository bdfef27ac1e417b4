"""Pools as rows of a table: figures, each with its tone, and a status in words. The normal state is quiet."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from pools.models import Criticality, Pool, PoolKind, PoolNow, RunState
from pools.selectors.fleet import Presence
from pools.selectors.phrases import jobs, names

STALE = timedelta(seconds=15)  # the sampler comes by every two
LONG_WAIT = timedelta(minutes=5)
MANY_FAILURES = 10  # below it, an hour's failures are never red
FAILING_SHARE = 0.1
BUSY_SHARE = 0.9
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
    def present(self) -> str:
        """``0 of 8 present``: how many workers there should be when none is."""
        return f"of {self.presence.wanted} present" if self.presence.wanted else "present"

    @property
    def busy_tone(self) -> str:
        """Warn when hardly a worker is free and jobs wait longer than they should."""
        now = self.now
        return "warn" if now and now.workers and now.busy >= BUSY_SHARE * now.workers and self.oldest_tone else ""

    @property
    def busy_label(self) -> str:
        return f"{self.now.busy} of {self.now.workers} workers busy" if self.now else "not sampled yet"

    @property
    def spark_label(self) -> str:
        return f"{self.pool.slug}: waiting jobs, last 5 minutes, now {self.presence.waiting}"

    @property
    def attest_label(self) -> str:
        told, attesting = self.presence.published, self.presence.attesting
        if told is None:
            return ""
        return f"Told v{told.number}; {attesting} of {sum(self.presence.versions.values())} workers attest it"

    @property
    def is_stale(self) -> bool:
        return self.now is not None and timezone.now() - self.now.sampled_at > STALE

    @property
    def spark_tone(self) -> str:
        return "bad" if self.presence.lacks_workers and self.presence.waiting else self.busy_tone

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
        """Those in trouble first (0, then 1), then by criticality, then by name. A pause is a choice, not trouble."""
        trouble = 0 if self.status.tone == "bad" or self.failed_tone else 2
        if trouble and (self.drifting or self.oldest_tone):
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
    if presence.lacks_workers:
        wanted = presence.wanted
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
