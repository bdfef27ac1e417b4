"""Operations that an actor may see: those all of whose pools are visible."""

from collections import Counter
from dataclasses import dataclass

from django.db.models import Count, QuerySet

from audit.actor import Actor
from audit.target import Target
from pools.models import Effect, Operation, OperationItem, OperationKind, OperationState, Outcome, PayloadEdit, Pool
from pools.permissions import pools_with, visible_pools
from pools.selectors.dead_letters import Page
from pools.selectors.phrases import counted, names
from pools.selectors.progress import DONE, OUTCOMES, SKIPPED, Progress, open_items

PAGE = 25
ITEMS = 25
TABS = {
    "all": "All",
    "awaiting": "Awaiting approval",
    "running": "Running",
    "paused": "Paused",
    "stopped": "Stopped",
    "frozen": "Frozen",
    "ended": "Ended",
    "cancelled": "Cancelled",
}
# Tone, word and icon of a state; a quiet one has no tone.
STATES = {
    OperationState.AWAITING: ("warn", "Awaiting approval", "user-check"),
    OperationState.FROZEN: ("", "Frozen", "snowflake"),
    OperationState.RUNNING: ("run", "Sending", "player-play"),
    OperationState.PAUSED: ("warn", "Paused", "player-pause"),
    OperationState.STOPPED: ("bad", "Stopped by itself", "alert-octagon"),
    OperationState.CANCELLED: ("", "Cancelled", "player-stop"),
    OperationState.ENDED: ("ok", "Ended", "circle-check"),
}


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
            OperationState.AWAITING,
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
    return Operation.objects.exclude(pools__in=hidden).select_related("approval").prefetch_related("pools")


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
    pools = row.pools.all()
    slugs = sorted(pool.slug for pool in pools if pool.pk != row.to_pool_id or len(pools) == 1)
    letters = "dead letter" if row.frozen_count == 1 else "dead letters"
    to = f" to {row.to_queue}" if row.to_queue else ""
    title = f"{row.get_kind_display()} {row.frozen_count:,} {letters} in {names(slugs)}{to}"
    return OperationRow(row, title, STATES[OperationState(row.state)], progress)


def edit_phrase(row: Operation, *, named: bool) -> str:
    """What an edit changed before it requeued: where, for who may see values; how much, for the others."""
    edit: PayloadEdit | None = getattr(row, "edit", None)
    if edit is None:
        return ""
    where = ", ".join(edit.paths) if named else f"{counted(len(edit.paths), 'value')} of its arguments"
    return f"Edited before: {where}"


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
