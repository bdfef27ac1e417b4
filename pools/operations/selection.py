"""Which dead letters an operation is about: named one by one, filtered, or left by an earlier operation."""

from dataclasses import dataclass
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils import timezone

from audit.actor import Actor
from pools.models import (
    SHELVED,
    DeadLetter,
    DeadLetterState,
    Effect,
    Operation,
    OperationKind,
    Pool,
    is_poison,
    is_refused,
    still_there,
)
from pools.operations.errors import Refused
from pools.selectors.dead_letters import DeadLetterFilter, FilterError, dead_letters
from pools.selectors.phrases import one_of
from pools.selectors.shelf import LEAVES, taken_by

MAX_IDS = 10_000  # named one by one; a filter has no limit
# Where an operation may take dead letters from, each from one place only.
SOURCES: dict[OperationKind, tuple[DeadLetterState, ...]] = {
    OperationKind.REQUEUE: (DeadLetterState.OPEN,),
    OperationKind.MOVE: (DeadLetterState.OPEN,),
    OperationKind.EDIT: (DeadLetterState.OPEN,),
    OperationKind.DISCARD: (DeadLetterState.OPEN, DeadLetterState.QUARANTINED, DeadLetterState.ARCHIVED),
    OperationKind.QUARANTINE: (DeadLetterState.OPEN,),
    OperationKind.ARCHIVE: (DeadLetterState.OPEN,),
    OperationKind.RESTORE: SHELVED,
}


@dataclass(frozen=True)
class Selection:
    """Dead letters named one by one (``ids``, their primary keys), by a filter, as those that failed again after
    ``failed_in``, a requeue, as those that ``shelved_by`` took away, or as the poison of a pool, or what its workers
    refused. Of these only those are taken that lie where the operation may take them from."""

    ids: tuple[int, ...] = ()
    filter: DeadLetterFilter | None = None
    failed_in: Operation | None = None
    shelved_by: Operation | None = None
    poison_of: Pool | None = None
    refused_of: Pool | None = None

    def as_json(self, actor: Actor) -> dict[str, object]:
        if self.failed_in:
            return {"failed_in": self.failed_in.pk}
        if self.shelved_by:
            return {"shelved_by": self.shelved_by.pk}
        if self.poison_of:
            return {"poison_of": self.poison_of.slug}
        if self.refused_of:
            return {"refused_of": self.refused_of.slug}
        return {"filter": self.filter.seen_by(actor).as_record()} if self.filter else {"ids": len(self.ids)}


class Chosen(NamedTuple):
    """Dead letters that all lie in the same place."""

    letters: QuerySet[DeadLetter]
    source: DeadLetterState


def select(actor: Actor, selection: Selection, kind: OperationKind) -> Chosen:
    """Those of the selection that the actor may see and the operation may take. Raises ``Refused``."""
    named = (selection.failed_in, selection.shelved_by, selection.poison_of, selection.refused_of)
    ways = (selection.ids, selection.filter is not None, *named)
    if sum(map(bool, ways)) != 1:
        raise Refused("ids", "Name either ids or a filter. Nothing was changed.")
    if len(selection.ids) > MAX_IDS:
        raise Refused("ids", f"At most {MAX_IDS:,} ids; use a filter for more. Nothing was changed.")
    try:
        found = dead_letters(actor, selection.filter or DeadLetterFilter(state="any"))
    except FilterError as error:
        raise Refused(error.field, f"{error.message}. Nothing was changed.") from error
    if selection.ids:
        found = found.filter(pk__in=selection.ids)
    if selection.failed_in:
        again = selection.failed_in.items.filter(effect=Effect.FAILED_AGAIN)
        found = found.filter(pk__in=again.values("dead_letter_id"))
    if selection.shelved_by:
        found = found.filter(taken_by(selection.shelved_by))
    if selection.poison_of:
        found = found.filter(is_poison(), pool=selection.poison_of)
    if selection.refused_of:
        found = found.filter(is_refused(), pool=selection.refused_of)
    source = _source(selection, kind, found)
    return Chosen(found.filter(still_there(source, timezone.now())), source)


def _source(selection: Selection, kind: OperationKind, found: QuerySet[DeadLetter]) -> DeadLetterState:
    """Raises ``Refused`` when the filter asks for a place from which the operation takes nothing."""
    places = SOURCES[kind]
    if selection.shelved_by:
        return LEAVES[OperationKind(selection.shelved_by.kind)]
    if selection.filter is None:
        states = set(found.order_by().values_list("state", flat=True).distinct()) if len(places) > 1 else places
        return next((place for place in places if place in states), places[0])
    if selection.filter.state not in places:
        message = f"{kind.label} takes what is {one_of(places)}, not {selection.filter.state}. Nothing was changed."
        raise Refused("filter.state", message)
    return DeadLetterState(selection.filter.state)
