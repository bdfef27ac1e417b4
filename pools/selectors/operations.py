"""Operations that an actor may see: those all of whose pools are visible."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import Count, QuerySet

from audit.actor import Actor
from audit.target import Target
from pools.models import Effect, Operation, OperationItem, OperationKind, OperationState, Outcome, Pool
from pools.permissions import pools_with, visible_pools
from pools.selectors.dead_letters import Page
from pools.selectors.phrases import effect_phrase, names

PAGE = 25
ITEMS = 25
DONE = {OperationKind.REQUEUE: Outcome.REQUEUED, OperationKind.DISCARD: Outcome.DISCARDED}
SKIPPED = (Outcome.NOT_FAILED, Outcome.GONE, Outcome.DAMAGED)
TABS = {
    "all": "All",
    "running": "Running",
    "paused": "Paused",
    "stopped": "Stopped",
    "frozen": "Frozen",
    "ended": "Ended",
    "cancelled": "Cancelled",
}
# Tone, word and icon of a state; a quiet one has no tone.
STATES = {
    OperationState.FROZEN: ("", "Frozen", "snowflake"),
    OperationState.RUNNING: ("run", "Sending", "player-play"),
    OperationState.PAUSED: ("warn", "Paused", "player-pause"),
    OperationState.STOPPED: ("bad", "Stopped by itself", "alert-octagon"),
    OperationState.CANCELLED: ("", "Cancelled", "player-stop"),
    OperationState.ENDED: ("ok", "Ended", "circle-check"),
}
# Tone, word, icon and, where the word does not say it all, why.
OUTCOMES = {
    Outcome.REQUEUED: ("ok", "Requeued", "check", ""),
    Outcome.DISCARDED: ("ok", "Discarded", "check", ""),
    Outcome.NOT_FAILED: ("", "Skipped", "circle-minus", "handled by somebody else"),
    Outcome.GONE: ("", "Skipped", "circle-minus", "the broker no longer has it"),
    Outcome.DAMAGED: ("bad", "Skipped", "alert-triangle", "its record is damaged"),
    Outcome.CANCELLED: ("", "Cancelled", "player-stop", ""),
    Outcome.RECALLED: ("", "Recalled", "corner-up-left", "it waits among the dead letters again"),
    Outcome.PENDING: ("out", "Not sent yet", "clock", ""),
}


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
        """Those with an outcome of their own: done or skipped."""
        return self.done + self.skipped

    @property
    def parts(self) -> list[tuple[str, str, int]]:
        """What the bar and its legend show, in this order: label, tone, number of items."""
        skipped = self.of(Outcome.NOT_FAILED, Outcome.GONE)
        shown = [
            (OUTCOMES[Outcome(self.done_as)][1], "ok", self.done),
            ("Skipped, no longer there", "calm", skipped),
            ("Skipped, damaged", "bad", self.of(Outcome.DAMAGED)),
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
    def _otherwise_failed(self) -> tuple[str, str]:
        return ("Failed again, other cause", "warn") if self.same else ("Failed again", "bad")

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


@dataclass(frozen=True)
class OperationRow:
    """An operation in the list. ``title`` says what it does, to how many, where."""

    operation: Operation
    title: str
    state: tuple[str, str, str]
    progress: Progress

    @property
    def is_under_way(self) -> bool:
        return self.operation.state in (
            OperationState.RUNNING,
            OperationState.PAUSED,
            OperationState.STOPPED,
            OperationState.FROZEN,
        )


@dataclass(frozen=True)
class ItemRow:
    """One frozen job and what became of it. ``chip``: tone, word, icon."""

    item: OperationItem
    chip: tuple[str, str, str]
    why: str


def visible_operations(actor: Actor) -> QuerySet[Operation]:
    """Newest first."""
    hidden = Pool.objects.exclude(pk__in=visible_pools(actor).values("pk"))
    return Operation.objects.exclude(pools__in=hidden).prefetch_related("pools")


def find_operation(actor: Actor, pk: int) -> Operation:
    """Raises ``Operation.DoesNotExist`` also for one that touches a pool which the actor may not see."""
    return visible_operations(actor).get(pk=pk)


def operation_tabs(actor: Actor) -> list[tuple[str, str, int]]:
    """State, label and number of operations; states that do not occur are left out."""
    counts = dict(visible_operations(actor).order_by().values_list("state").annotate(n=Count("pk")))
    found = {"all": sum(counts.values()), **counts}
    return [(key, label, found[key]) for key, label in TABS.items() if found.get(key)]


def operation_page(actor: Actor, state: str, cursor: str) -> Page[OperationRow]:
    """Newest first. A cursor that is no number means the first page, an unknown state means all."""
    found = visible_operations(actor).order_by("-pk")
    if state in OperationState.values:
        found = found.filter(state=state)
    if number := _number(cursor):
        found = found.filter(pk__lt=number)
    rows = list(found[: PAGE + 1])
    more = str(rows[PAGE - 1].pk) if len(rows) > PAGE else ""
    return Page([row_of(row, progress) for row, progress in with_progress(rows[:PAGE])], more)


def row_of(row: Operation, progress: Progress) -> OperationRow:
    slugs = sorted(pool.slug for pool in row.pools.all())
    letters = "dead letter" if row.frozen_count == 1 else "dead letters"
    title = f"{row.get_kind_display()} {row.frozen_count:,} {letters} in {names(slugs)}"
    return OperationRow(row, title, STATES[OperationState(row.state)], progress)


def progress_of(row: Operation) -> Progress:
    return Progress(row.frozen_count, row.outcome_counts(), DONE[OperationKind(row.kind)])


def effect_of(row: Operation, progress: Progress) -> RunEffect | None:
    """None for a discard, and as long as nothing was requeued."""
    if row.kind != OperationKind.REQUEUE or not progress.done:
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
    if row.state == OperationState.FROZEN:
        return Stage.FROZEN
    if row.ended_at is None:
        return Stage.CANARY if row.has_open_canary else Stage.SENDING
    follows = row.kind == OperationKind.REQUEUE and row.effect_at is None and progress.done > 0
    return Stage.FOLLOWING if follows else Stage.ENDED


def seconds_left(row: Operation, progress: Progress) -> float | None:
    """Until all is sent, at the operation's rate; None while it has none or sends nothing."""
    if row.state != OperationState.RUNNING or row.rate_per_second is None or row.has_open_canary:
        return None
    return progress.pending / row.rate_per_second


def rate_phrase(rate: int | None) -> str:
    return f"{rate:,} a second" if rate else "as fast as it goes"


def operation_target(row: Operation, pools: list[str]) -> Target:
    """What its events are about."""
    return Target(
        kind="operation", id=str(row.pk), name=f"operation {row.pk}", pool=pools[0] if len(pools) == 1 else ""
    )


def pools_without(actor: Actor, row: Operation, permission: str) -> list[str]:
    """The operation's pools on which the actor does not hold the permission."""
    return sorted(row.pools.exclude(pk__in=pools_with(actor, permission)).values_list("slug", flat=True))


def items_page(row: Operation, tab: str, cursor: str) -> Page[ItemRow]:
    """In the order of sending. ``tab``: one of ``item_tabs``, anything else means all."""
    items = row.items.select_related("dead_letter").order_by("position")
    if tab in (Effect.FAILED_AGAIN, Effect.RUNNING):
        items = items.filter(effect=tab)
    if outcomes := _outcomes(tab):
        items = items.filter(outcome__in=outcomes)
    if number := _number(cursor):
        items = items.filter(position__gt=number)
    found = list(items[: ITEMS + 1])
    return Page(
        [_item_row(item) for item in found[:ITEMS]], str(found[ITEMS - 1].position) if len(found) > ITEMS else ""
    )


def _item_row(item: OperationItem) -> ItemRow:
    tone, word, icon, why = OUTCOMES[Outcome(item.outcome)]
    cause = {True: ", same cause", False: ", other cause", None: ""}[item.same_failure]
    came_of_it = item.get_effect_display().lower() + cause
    return ItemRow(item, (tone, word, icon), came_of_it or why)


def item_tabs(row: Operation, progress: Progress) -> list[tuple[str, str, int]]:
    """Key, label and number of items; always all, then those that occur."""
    running = open_items(row).filter(effect=Effect.RUNNING).count() if row.effect_at is None else 0
    tabs = [
        ("failed_again", "Failed again", row.effects.get(Effect.FAILED_AGAIN, 0)),
        ("running", "Running", running),
        ("done", OUTCOMES[Outcome(progress.done_as)][1], progress.done),
        ("skipped", "Skipped", progress.skipped),
        ("pending", "Not sent yet", progress.pending),
        ("recalled", "Recalled", progress.of(Outcome.RECALLED)),
        ("cancelled", "Cancelled", progress.of(Outcome.CANCELLED)),
    ]
    return [("all", "All", progress.frozen), *(tab for tab in tabs if tab[2])]


def _outcomes(tab: str) -> tuple[str, ...]:
    return {
        "done": tuple(DONE.values()),
        "skipped": SKIPPED,
        "pending": (Outcome.PENDING,),
        "recalled": (Outcome.RECALLED,),
        "cancelled": (Outcome.CANCELLED,),
    }.get(tab, ())


def with_progress(rows: list[Operation]) -> list[tuple[Operation, Progress]]:
    """What was done is the rest of the frozen set: only the other outcomes are counted, which are few."""
    others = OperationItem.objects.filter(operation__in=rows).exclude(outcome__in=DONE.values()).order_by()
    counts: dict[int, Counter[str]] = {row.pk: Counter() for row in rows}
    for pk, outcome, count in others.values_list("operation", "outcome").annotate(n=Count("pk")):
        counts[pk][outcome] = count
    for row in rows:
        counts[row.pk][DONE[OperationKind(row.kind)]] = row.frozen_count - counts[row.pk].total()
    return [(row, Progress(row.frozen_count, dict(counts[row.pk]), DONE[OperationKind(row.kind)])) for row in rows]


def _number(cursor: str) -> int:
    return int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) <= 18 else 0
