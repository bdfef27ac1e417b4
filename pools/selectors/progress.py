"""How far an operation is and what came of it: its items by outcome and effect, its stage, its guards."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import QuerySet
from django.utils import timezone

from pools.models import Effect, Operation, OperationItem, OperationKind, OperationState, Outcome
from pools.selectors.phrases import effect_phrase

DONE = {
    OperationKind.REQUEUE: Outcome.REQUEUED,
    OperationKind.DISCARD: Outcome.DISCARDED,
    OperationKind.MOVE: Outcome.REQUEUED,
    OperationKind.EDIT: Outcome.REQUEUED,
    OperationKind.QUARANTINE: Outcome.QUARANTINED,
    OperationKind.ARCHIVE: Outcome.ARCHIVED,
    OperationKind.RESTORE: Outcome.RESTORED,
}
NO_LONGER_THERE = (Outcome.NOT_FAILED, Outcome.GONE, Outcome.EXPIRED, Outcome.NOT_SHELVED)
SKIPPED = (
    *NO_LONGER_THERE,
    Outcome.DAMAGED,
    Outcome.TAKEN,
    Outcome.POISON,
    Outcome.CHANGED,
    Outcome.FAILED_ANEW,
    Outcome.ORPHANED,
)
# Tone, word, icon and, where the word does not say it all, why.
OUTCOMES = {
    Outcome.REQUEUED: ("ok", "Requeued", "check", ""),
    Outcome.DISCARDED: ("ok", "Discarded", "check", ""),
    Outcome.QUARANTINED: ("ok", "Quarantined", "check", ""),
    Outcome.ARCHIVED: ("ok", "Archived", "check", ""),
    Outcome.RESTORED: ("ok", "Restored", "check", ""),
    Outcome.NOT_FAILED: ("", "Skipped", "circle-minus", "handled by somebody else"),
    Outcome.GONE: ("", "Skipped", "circle-minus", "the broker no longer has it"),
    Outcome.DAMAGED: ("bad", "Skipped", "alert-triangle", "its record is damaged"),
    Outcome.CHANGED: ("warn", "Skipped", "git-compare", "its payload was changed meanwhile"),
    Outcome.FAILED_ANEW: ("warn", "Skipped", "refresh-alert", "it failed anew since the set was frozen"),
    Outcome.ORPHANED: ("warn", "Skipped", "circle-minus", "dependency missing: a job that it depends on is gone"),
    Outcome.TAKEN: ("warn", "Skipped", "alert-triangle", "another job has its id by now"),
    Outcome.EXPIRED: ("", "Skipped", "circle-minus", "no longer kept: its time was over, or it was deleted"),
    Outcome.NOT_SHELVED: ("", "Skipped", "circle-minus", "restored or moved by somebody else"),
    Outcome.POISON: ("warn", "Skipped", "refresh-alert", "poison: it came back from each requeue"),
    Outcome.CANCELLED: ("", "Cancelled", "player-stop", ""),
    Outcome.RECALLED: ("", "Recalled", "corner-up-left", "it waits among the dead letters again"),
    Outcome.PENDING: ("out", "Not sent yet", "clock", ""),
}


MEASURED = 20_000


@dataclass(frozen=True)
class Progress:
    """Items by outcome. Every item is in exactly one of them, so the parts add up to the frozen count."""

    frozen: int
    counts: dict[str, int]
    done_as: str

    def of(self, *outcomes: str) -> int:
        return sum(self.counts.get(outcome, 0) for outcome in outcomes)

    @property
    def done(self) -> int:
        return self.of(self.done_as)

    @property
    def skipped(self) -> int:
        return self.of(*SKIPPED)

    @property
    def pending(self) -> int:
        return self.of(Outcome.PENDING)

    @property
    def handled(self) -> int:
        """Those with an outcome of their own: done, skipped, or done and taken back."""
        return self.done + self.skipped + self.of(Outcome.RECALLED)

    @property
    def parts(self) -> list[tuple[str, str, int]]:
        """What the bar and its legend show, in this order: label, tone, number of items."""
        shown = [
            (OUTCOMES[Outcome(self.done_as)][1], "ok", self.done),
            ("Skipped, no longer there", "calm", self.of(*NO_LONGER_THERE)),
            ("Skipped, damaged", "bad", self.of(Outcome.DAMAGED)),
            ("Skipped, id taken", "bad", self.of(Outcome.TAKEN)),
            ("Skipped, poison", "calm", self.of(Outcome.POISON)),
            ("Skipped, not edited", "bad", self.of(Outcome.CHANGED)),
            ("Skipped, failed anew", "calm", self.of(Outcome.FAILED_ANEW)),
            ("Skipped, dependency missing", "calm", self.of(Outcome.ORPHANED)),
            ("Recalled", "", self.of(Outcome.RECALLED)),
            ("Cancelled", "", self.of(Outcome.CANCELLED)),
            ("Not sent yet", "", self.pending),
        ]
        return [part for index, part in enumerate(shown) if part[2] or not index]

    @property
    def label(self) -> str:
        return ", ".join(f"{count:,} {label.lower()}" for label, _, count in self.parts)

    @property
    def segments(self) -> list[tuple[int, str]]:
        return [(count, tone) for _, tone, count in self.parts if tone]


@dataclass(frozen=True)
class RunEffect:
    """What the runs of requeued jobs came to. ``counts`` has those that ended; the others wait or run."""

    requeued: int
    counts: dict[str, int]
    at: datetime | None
    same: int = 0

    @property
    def open(self) -> int:
        return self.requeued - sum(self.counts.values())

    @property
    def failed(self) -> int:
        return self.counts.get(Effect.FAILED_AGAIN, 0)

    @property
    def ended(self) -> int:
        return self.requeued - self.open

    @property
    def label(self) -> str:
        waiting = f"{self.open:,} still to end" if self.open else ""
        return ", ".join(part for part in (effect_phrase(self.counts), waiting) if part)

    @property
    def parts(self) -> list[tuple[str, str, int]]:
        """What the bar and its legend show, in this order: label, tone, number of jobs."""
        shown = [
            ("Succeeded", "ok", self.counts.get(Effect.SUCCEEDED, 0)),
            ("Failed again, same cause", "bad", self.same),
            (
                "Failed again" + (", other cause" if self.same else ""),
                "warn" if self.same else "bad",
                self.failed - self.same,
            ),
            ("End unknown", "calm", self.counts.get(Effect.UNKNOWN, 0)),
            ("Wait or run", "", self.open),
        ]
        return [part for index, part in enumerate(shown) if part[2] or not index]

    @property
    def segments(self) -> list[tuple[int, str]]:
        return [(count, tone) for _, tone, count in self.parts if tone]


def progress_of(row: Operation) -> Progress:
    return Progress(row.frozen_count, row.outcome_counts(), DONE[OperationKind(row.kind)])


def effect_of(row: Operation, progress: Progress) -> RunEffect | None:
    """None for a discard, and as long as nothing was requeued."""
    if not row.runs_again or not progress.done:
        return None
    return RunEffect(progress.done, row.effects, row.effect_at, row.same_failures)


def open_items(row: Operation) -> QuerySet[OperationItem]:
    """Requeued jobs whose run has not ended, as far as we know."""
    return row.items.filter(outcome=Outcome.REQUEUED, effect__in=("", Effect.RUNNING))


@dataclass(frozen=True)
class CameBack:
    """Of ``known`` jobs whose run has ended, ``same`` failed again for the same cause; ``limit`` in percent."""

    known: int
    same: int
    limit: int

    @property
    def is_too_much(self) -> bool:
        """One alone is no share of anything, however few have ended."""
        return self.same > 1 and self.same * 100 > self.limit * self.known

    @property
    def percent(self) -> float:
        return 100 * self.same / self.known if self.known else 0.0

    @property
    def label(self) -> str:
        return f"{self.same:,} of {self.known:,} came back, of a limit of {self.limit} percent"

    @property
    def tone(self) -> str:
        return "bad" if self.is_too_much else ""


def came_back(row: Operation) -> CameBack | None:
    """What ``stop_same_failure`` is held against; None when it is not asked for."""
    if row.stop_same_failure is None:
        return None
    known = sum(row.effects.values()) - row.guarded_from.get("known", 0)
    return CameBack(known, row.same_failures - row.guarded_from.get("same", 0), row.stop_same_failure)


class Stage(StrEnum):
    """How far an operation is. Paused and stopped ones are where they stopped."""

    FROZEN = "frozen"
    CANARY = "canary"
    SENDING = "sending"
    FOLLOWING = "following"
    ENDED = "ended"


def stage_of(row: Operation, progress: Progress) -> Stage:
    if row.state in (OperationState.FROZEN, OperationState.AWAITING):
        return Stage.FROZEN
    if row.ended_at is None:
        return Stage.CANARY if row.has_open_canary else Stage.SENDING
    follows = row.runs_again and row.effect_at is None and progress.done > 0
    return Stage.FOLLOWING if follows else Stage.ENDED


def seconds_left(row: Operation, progress: Progress) -> float | None:
    """Until all is sent, at the operation's rate, or as fast as it went lately; None while it sends nothing."""
    if row.state != OperationState.RUNNING or row.has_open_canary:
        return None
    if row.rate_per_second is not None:
        return progress.pending / row.rate_per_second
    seconds_each = _pace(row)
    return None if seconds_each is None else progress.pending * seconds_each


def _pace(row: Operation) -> float | None:
    """Seconds that each of the last ``MEASURED`` jobs took, or of those since the canary; None before the first.

    They are sent in the order of their positions, and each has the time at which its chunk began.
    """
    coming = row.items.filter(outcome=Outcome.PENDING).order_by("position").values_list("position", flat=True).first()
    if coming is None:
        return None
    sent = row.items.filter(
        position__range=(coming - MEASURED, coming - 1), at__gte=row.canary_over_at or row.created_at
    )
    first = sent.order_by("position").values_list("position", "at").first()
    if first is None or first[1] is None:
        return None
    return (timezone.now() - first[1]).total_seconds() / (coming - first[0])


def rate_phrase(rate: int | None) -> str:
    return f"{rate:,} a second" if rate else "as fast as it goes"
