"""Failures that began lately, came back, or rise: for the overview. Reads groups and hours, never dead letters.

What is snoozed or resolved awaits nobody and is left out.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone

from controlplane.wording import count, duration
from pools.models import FailureGroup, FailureHour, GroupState
from pools.models.failure_group import is_snoozed
from pools.selectors.attention import Action, Item
from pools.selectors.fleet import Presence
from pools.selectors.phrases import jobs

NEW = timedelta(hours=2)
SHOWN = 3
MOST = 50
HOURS = 12
RISING_FROM = 10  # failures in this hour
RISING_BY = 3  # times the mean of the hours before
BLAMED = timedelta(minutes=15)  # a config version published so shortly before is worth naming


def failing(presences: list[Presence]) -> list[Item]:
    """New, regressed and rising failure groups of these pools, at most ``SHOWN`` of each; two queries."""
    pools = {presence.pool.pk: presence for presence in presences}
    groups = list(_candidates(pools))
    new = [group for group in groups if _is_new(group)]
    regressed = [group for group in groups if group.state == GroupState.REGRESSED]
    busy = [group for group in groups if group not in new and group not in regressed]
    history = _history([group.pk for group in new[:SHOWN] + regressed[:SHOWN] + busy])
    items = [_new_item(group, pools[group.pool_id], history[group.pk]) for group in new[:SHOWN]]
    items += [_regressed_item(group, pools[group.pool_id], history[group.pk]) for group in regressed[:SHOWN]]
    rising = [group for group in busy if _is_rising(history[group.pk])]
    items += [_rising_item(group, pools[group.pool_id], history[group.pk]) for group in rising[:SHOWN]]
    return items + _more("new", new[SHOWN:]) + _more("regressed", regressed[SHOWN:])


def _candidates(pools: Iterable[int]) -> Iterable[FailureGroup]:
    """Open groups that are new, that came back, or that failed often in this hour; the largest first."""
    this_hour = FailureHour.objects.filter(group=OuterRef("pk"), hour=_hours()[-1], count__gte=RISING_FROM)
    began = Q(state=GroupState.NEW, first_seen__gte=timezone.now() - NEW)
    wanted = began | Q(state=GroupState.REGRESSED) | Q(Exists(this_hour))
    found = FailureGroup.objects.filter(wanted, ~is_snoozed(), pool__in=pools, open_count__gt=0)
    return found.exclude(state=GroupState.RESOLVED).order_by("-open_count", "-pk")[:MOST]


def _is_new(group: FailureGroup) -> bool:
    return group.state == GroupState.NEW and group.first_seen >= timezone.now() - NEW


def _hours() -> list[datetime]:
    """The starts of the last ``HOURS`` hours, this one last."""
    this = timezone.now().replace(minute=0, second=0, microsecond=0)
    return [this - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]


def _history(groups: list[int]) -> dict[int, tuple[int, ...]]:
    hours = _hours()
    counts: defaultdict[int, dict[datetime, int]] = defaultdict(dict)
    if groups:
        rows = FailureHour.objects.filter(group__in=groups, hour__gte=hours[0])
        for group_id, hour, number in rows.values_list("group_id", "hour", "count"):
            counts[group_id][hour] = number
    return {group: tuple(counts[group].get(hour, 0) for hour in hours) for group in groups}


def _is_rising(history: tuple[int, ...]) -> bool:
    before = history[:-1]
    return history[-1] > RISING_BY * sum(before) / len(before)


def _new_item(group: FailureGroup, presence: Presence, history: tuple[int, ...]) -> Item:
    return Item(
        severity="bad",
        icon="flame",
        icon_label="Failing",
        title=f"New failure in {presence.pool}: {jobs(group.open_count)} with {group.title}",
        since_label="Began",
        detail=f"{_after(group, presence)}In {group.func}.",
        **_common(group, history),
    )


def _regressed_item(group: FailureGroup, presence: Presence, history: tuple[int, ...]) -> Item:
    return Item(
        severity="warn",
        icon="rotate-clockwise",
        icon_label="Regressed",
        title=f"Regressed in {presence.pool}: {group.title}",
        since_label="Failed again",
        detail=f"It was resolved before. {jobs(group.open_count).capitalize()}. In {group.func}.",
        **_common(group, history) | {"since": group.state_at},
    )


def _rising_item(group: FailureGroup, presence: Presence, history: tuple[int, ...]) -> Item:
    before = sum(history[:-1]) / len(history[:-1])
    return Item(
        severity="warn",
        icon="trending-up",
        icon_label="Rising",
        title=f"Rising in {presence.pool}: {group.title}",
        since_label="First seen",
        detail=f"{count(history[-1])} failures this hour, about {before:.0f} an hour before. In {group.func}.",
        **_common(group, history),
    )


def _common(group: FailureGroup, history: tuple[int, ...]) -> dict[str, Any]:
    label = f"Triage {jobs(group.open_count)}"
    return {
        "key": f"group-{group.pk}",
        "since": group.first_seen,
        "spark": history,
        "spark_label": f"Failures an hour, last {HOURS} hours, now {count(history[-1])}",
        "actions": (Action(label, reverse("failure-group", args=[group.pk]), primary=True),),
    }


def _after(group: FailureGroup, presence: Presence) -> str:
    """``3 min after config v42.``, when that is close enough to be a cause; a first version changed nothing."""
    told = presence.published
    if (
        told is None
        or told.number == 1
        or told.signed_at is None
        or not timedelta() <= group.first_seen - told.signed_at <= BLAMED
    ):
        return ""
    seconds = int((group.first_seen - told.signed_at).total_seconds())
    seconds -= seconds % 60 if seconds > 60 else 0
    return f"That was {duration(seconds)} after config v{told.number}. "


def _more(kind: str, groups: list[FailureGroup]) -> list[Item]:
    if not groups:
        return []
    total = sum(group.open_count for group in groups)
    noun = "group" if len(groups) == 1 else "groups"
    url = reverse("dead-letters") + f"?group_state={kind}"
    return [
        Item(
            key=f"more-{kind}",
            severity="info",
            icon="mailbox",
            icon_label=f"{kind.capitalize()} failures",
            title=f"{len(groups)} more {kind} failure {noun}, {jobs(total)}",
            actions=(Action("See all of them", url),),
        )
    ]
