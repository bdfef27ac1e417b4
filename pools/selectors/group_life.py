"""What people decided about failure groups, as conditions for queries and in words for pages."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from django.db.models import Case, Q, Value, When
from django.utils import timezone

from pools.models import FailureGroup, GroupNote, GroupState
from pools.models.failure_group import SNOOZED, is_snoozed

SHOWN_STATES = (*GroupState.values[:2], SNOOZED, *GroupState.values[2:])
ATTENTION = (GroupState.NEW, GroupState.REGRESSED)
NOBODY = "none"
NOTES_SHOWN = 50


@dataclass(frozen=True)
class Badge:
    """A group's state as a chip."""

    tone: str
    text: str
    icon: str


BADGES = {
    GroupState.NEW: Badge("bad", "New", "sparkles"),
    GroupState.REGRESSED: Badge("warn", "Regressed", "rotate-clockwise"),
    GroupState.ACKNOWLEDGED: Badge("", "Acknowledged", "check"),
    GroupState.RESOLVED: Badge("ok", "Resolved", "circle-check"),
}


def badge(group: FailureGroup) -> Badge:
    if group.is_snoozed:
        return Badge("run", f"Snoozed {snooze_end(group)}", "zzz")
    return BADGES[GroupState(group.state)]


def snooze_end(group: FailureGroup) -> str:
    """``until v6``, ``until 09:00`` (UTC, today), ``until 24 Nov``, ``for 12 more``. Its note says it in full."""
    if group.snoozed_version is not None:
        return f"until v{group.snoozed_version}"
    if group.snoozed_total is not None:
        return f"for {group.snoozed_total - group.total_count:,} more"
    assert group.snoozed_until is not None
    end = group.snoozed_until.astimezone(UTC)
    return f"until {end:%H:%M}" if end.date() == timezone.now().date() else f"until {end.day} {end:%b}"


def in_states(states: Iterable[str]) -> Q:
    """Groups that show one of ``states``."""
    wanted = set(states)
    awake = ~is_snoozed() & Q(state__in=sorted(wanted - {SNOOZED}))
    return awake | is_snoozed() if SNOOZED in wanted else awake


def owned_by(owner: str) -> Q:
    """Groups of the person with this username, or of nobody."""
    return Q(owner=None) if owner == NOBODY else Q(owner__username=owner)


def urgency() -> Case:
    """For ordering groups: what awaits a decision, what somebody knows about, what is snoozed, what is resolved."""
    return Case(
        When(is_snoozed(), then=Value(2)),
        When(state__in=ATTENTION, then=Value(0)),
        When(state=GroupState.RESOLVED, then=Value(3)),
        default=Value(1),
    )


def notes_of(group: FailureGroup) -> list[GroupNote]:
    """What was written and decided, newest first."""
    return list(GroupNote.objects.filter(group=group)[:NOTES_SHOWN])
