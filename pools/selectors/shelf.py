"""Trash, quarantine and archive in words and numbers."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actor import Actor
from pools.models import SHELVED, DeadLetter, DeadLetterState, FailureGroup, Operation, OperationKind, Pool, still_there
from pools.permissions import visible_pools
from pools.selectors.phrases import counted
from pools.selectors.progress import DONE

COUNTED = 10_000
"""Nobody needs to know more exactly how full a shelf is, and counting a million takes its time."""
NAMES = {
    DeadLetterState.DISCARDED: ("Trash", "trash"),
    DeadLetterState.QUARANTINED: ("Quarantine", "shield-lock"),
    DeadLetterState.ARCHIVED: ("Archive", "archive"),
}
# Where an operation leaves the dead letters with which it did what it should.
LEAVES = {
    OperationKind.DISCARD: DeadLetterState.DISCARDED,
    OperationKind.QUARANTINE: DeadLetterState.QUARANTINED,
    OperationKind.ARCHIVE: DeadLetterState.ARCHIVED,
}


@dataclass(frozen=True)
class Place:
    """A shelf and how many jobs can be restored from it; ``count`` as text, for it may be "10,000+"."""

    state: DeadLetterState
    count: str

    @property
    def name(self) -> str:
        return NAMES[self.state][0]

    @property
    def where(self) -> str:
        """``3 in the trash``."""
        return {"Trash": "in the trash", "Quarantine": "in quarantine", "Archive": "archived"}[self.name]

    @property
    def icon(self) -> str:
        return NAMES[self.state][1]


def places(actor: Actor) -> list[Place]:
    """The shelves of the actor's pools on which there is something."""
    return _filled(pool__in=visible_pools(actor))


def places_of(group: FailureGroup) -> list[Place]:
    """The same for one failure group."""
    return _filled(group=group)


def quarantined_in(pool: Pool) -> str:
    """How many of the pool's jobs are in quarantine, as text."""
    return at_most(DeadLetter.objects.filter(state=DeadLetterState.QUARANTINED, pool=pool))


def taken_by(row: Operation) -> Q:
    """The condition for dead letters that the operation took away, wherever they are by now. A join, not a subquery: an
    operation has each dead letter once, and every plan for it is linear, also before PostgreSQL has its statistics."""
    return Q(operation_items__operation=row, operation_items__outcome=DONE[OperationKind(row.kind)])


def took_away(row: Operation) -> QuerySet[DeadLetter]:
    """What the operation took away and can be restored."""
    kind = OperationKind(row.kind)
    if kind not in LEAVES:
        return DeadLetter.objects.none()
    return DeadLetter.objects.filter(taken_by(row), still_there(LEAVES[kind], timezone.now()))


def at_most(found: QuerySet[Any]) -> str:
    """How many there are, as text; beyond ``COUNTED`` only that."""
    count = found.order_by()[: COUNTED + 1].count()
    return f"{COUNTED:,}+" if count > COUNTED else f"{count:,}"


def becomes(kind: OperationKind) -> str:
    """What an operation of this kind would do, after the number of jobs."""
    trash = settings.POOLWARDEN_TRASH_DAYS
    return {
        OperationKind.REQUEUE: "will go back to the end of their queues",
        OperationKind.MOVE: "will go to the end of another queue",
        OperationKind.DISCARD: "will move to the trash" if trash else "will be deleted from the broker",
        OperationKind.QUARANTINE: "will move to the quarantine",
        OperationKind.ARCHIVE: "will move to the archive",
        OperationKind.RESTORE: "will become dead letters again",
    }[kind]


def afterwards(kind: OperationKind) -> str:
    """What to know about undoing it; empty where there is nothing to say."""
    trash, archive = settings.POOLWARDEN_TRASH_DAYS, settings.POOLWARDEN_ARCHIVE_DAYS
    kept = f"For {counted(trash, 'day')} a discarded job can be restored, then the broker deletes it."
    return {
        OperationKind.REQUEUE: "",
        OperationKind.MOVE: "",
        OperationKind.DISCARD: kept if trash else "A discarded job cannot be brought back.",
        OperationKind.QUARANTINE: "Until somebody restores or discards them, whatever their failure TTL.",
        OperationKind.ARCHIVE: f"The broker keeps them for {counted(archive, 'day')}, whatever their failure TTL. "
        "Until then they can be restored.",
        OperationKind.RESTORE: "With the expiry that they had, and ten minutes at least. One whose id "
        "another job has by now stays where it is.",
    }[kind]


def _filled(**where: Any) -> list[Place]:
    now = timezone.now()
    found = [Place(state, at_most(DeadLetter.objects.filter(still_there(state, now), **where))) for state in SHELVED]
    return [place for place in found if place.count != "0"]
