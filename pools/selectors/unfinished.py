"""Operations that go on only when a person says so: they stopped by themselves, are paused, or were never started."""

from collections import Counter

from django.urls import reverse

from audit.actor import Actor
from pools.models import Operation, OperationState
from pools.selectors.attention import Action, Item
from pools.selectors.operations import visible_operations
from pools.selectors.phrases import names

SAID = {
    OperationState.STOPPED: "stopped by itself",
    OperationState.PAUSED: "is paused",
    OperationState.FROZEN: "waits to be started",
}
COUNTED = {
    OperationState.STOPPED: "stopped by themselves",
    OperationState.PAUSED: "paused",
    OperationState.FROZEN: "not started",
}


def unfinished(actor: Actor) -> list[Item]:
    """One item for all of them, with the newest that stopped by itself, if there is one, named. One query."""
    waiting = visible_operations(actor).filter(state__in=list(SAID)).order_by("-pk").prefetch_related(None)
    return [_item(rows)] if (rows := list(waiting)) else []


def _item(rows: list[Operation]) -> Item:
    counts = Counter(OperationState(row.state) for row in rows)
    stopped = counts[OperationState.STOPPED]
    row = next((row for row in rows if row.state == OperationState.STOPPED), rows[0])
    if len(rows) == 1:
        title, url = f"Operation {row.pk} {SAID[OperationState(row.state)]}", reverse("operation", args=[row.pk])
    else:
        parts = [f"{counts[state]} {word}" for state, word in COUNTED.items() if counts[state]]
        title, url = f"{len(rows)} operations wait for a person: {names(parts)}", reverse("operations")
    return Item(
        key="operations-waiting",
        severity="warn" if stopped else "info",
        icon="player-pause",
        icon_label="Waiting",
        title=title,
        since=row.progressed_at,
        since_label="Last moved",
        detail=f"Operation {row.pk} stopped because {row.stopped_because}." if row.stopped_because else "",
        actions=(Action("See the operation" if len(rows) == 1 else "See the operations", url),),
    )
