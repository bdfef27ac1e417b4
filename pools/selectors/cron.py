"""A pool's cron entries with what is known of their slots."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from pools.models import CronSlot, Pool, RunState, SlotEnd, SlotOutcome
from pools.spec import CronEntry, PoolSpec
from pools.spec.schedule_words import words

RECENT = 10
# Outcome or end → tone and icon of its chip; what is as it should be stays quiet.
MARKS = {
    SlotOutcome.SKIPPED: ("warn", "player-pause"),
    SlotOutcome.MISSED: ("warn", "alert-triangle"),
    SlotEnd.FAILED: ("bad", "alert-circle"),
}


@dataclass(frozen=True)
class SlotLine:
    """One slot in a word: what was done about it, or how its job ended."""

    slot: CronSlot

    @property
    def text(self) -> str:
        enqueued = self.slot.outcome == SlotOutcome.ENQUEUED
        return self.slot.get_end_display() if enqueued else self.slot.get_outcome_display()

    @property
    def tone(self) -> str:
        return self._mark[0]

    @property
    def icon(self) -> str:
        return self._mark[1]

    @property
    def has_failed(self) -> bool:
        return self.slot.end == SlotEnd.FAILED

    @property
    def _mark(self) -> tuple[str, str]:
        key = self.slot.end if self.slot.outcome == SlotOutcome.ENQUEUED else self.slot.outcome
        return MARKS.get(key, ("", ""))  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class CronLine:
    """An entry of the published config. ``next_at`` and ``next_in`` (seconds): None while the pool is not running."""

    entry: CronEntry
    words: str
    next_at: datetime | None
    last: SlotLine | None

    @property
    def next_in(self) -> int | None:
        return ceil((self.next_at - timezone.now()).total_seconds()) if self.next_at else None


@dataclass(frozen=True)
class CronPage:
    """``recent``: the pool's newest slots, of whatever entry."""

    lines: list[CronLine]
    recent: list[SlotLine]


def cron_of(pool: Pool, spec: PoolSpec | None) -> CronPage:
    entries = spec.cron if spec else []
    slots = CronSlot.objects.filter(pool=pool)
    if not entries:
        return CronPage([], [])
    of_entry = slots.filter(name=OuterRef("name")).order_by("-slot_at")
    newest = slots.filter(name__in=[entry.name for entry in entries], pk=Subquery(of_entry.values("pk")[:1]))
    last = {slot.name: SlotLine(slot) for slot in newest}
    now = int(timezone.now().timestamp())
    running = pool.run_state == RunState.RUNNING
    lines = [
        CronLine(
            entry,
            words(entry.schedule),
            datetime.fromtimestamp(entry.slots.after(now), UTC) if running else None,
            last.get(entry.name),
        )
        for entry in entries
    ]
    return CronPage(lines, [SlotLine(slot) for slot in slots[:RECENT]])
