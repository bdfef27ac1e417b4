"""A failure group that fails far more often than it is used to."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median

from django.utils import timezone

from pools.controller.lease import LeaderLease
from pools.controller.notifying.notices import channels_for, note
from pools.models import FailureGroup, FailureHour, GroupState, Occasion
from pools.models.failure_group import is_snoozed

HOUR = timedelta(hours=1)
DAY = 24  # hours that make a baseline
KNOWN = 6  # hours that a group must have been there, for there to be one
FACTOR = 5  # times the usual hour
DAILY = 2  # times the same hour of the day before: what comes each night is usual
FLOOR = 20  # failures an hour that are never a spike
TOLD = timedelta(hours=6)
"""Who was told about a group so recently, for whatever reason, is not told that it spikes."""


def usual(before: Sequence[int]) -> int | None:
    """The most failures in an hour that are no spike; None while nothing is known of what is usual.

    ``before``: failures in each whole hour before this one, oldest first, at most a day of them. The result is the
    largest of ``FLOOR``, ``FACTOR`` times their median, and ``DAILY`` times the same hour of the day before.
    """
    if len(before) < KNOWN:
        return None
    yesterday = before[0] if len(before) == DAY else 0
    return max(FLOOR, math.floor(FACTOR * median(before)), DAILY * yesterday)


class Spikes:
    """Holds the failures of this hour, so far, against each group's own day before. Two queries when all is quiet."""

    name = "spikes"
    interval = 30.0

    def __init__(self, lease: LeaderLease) -> None:
        self._lease = lease

    def tick(self) -> bool:
        if not channels_for(Occasion.SPIKE):
            return False
        now = timezone.now()
        spiking = _spiking(now.replace(minute=0, second=0, microsecond=0))
        if spiking:
            with self._lease.fenced():
                note(Occasion.SPIKE, spiking, told_since=now - TOLD)
        return False


def _spiking(hour: datetime) -> list[FailureGroup]:
    """Groups with open dead letters, neither resolved nor snoozed, whose failures since ``hour`` are a spike."""
    awake = FailureGroup.objects.filter(open_count__gt=0, last_seen__gte=hour).exclude(is_snoozed())
    awake = awake.exclude(state=GroupState.RESOLVED).select_related("pool")
    many = FailureHour.objects.filter(hour=hour, count__gt=FLOOR, group__in=awake.values("pk"))
    counts = dict(many.values_list("group_id", "count"))
    days: defaultdict[int, dict[datetime, int]] = defaultdict(dict)
    past = FailureHour.objects.filter(group__in=counts, hour__gte=hour - DAY * HOUR, hour__lt=hour)
    for group_id, at, count in past.values_list("group_id", "hour", "count"):
        days[group_id][at] = count
    return [group for group in awake.filter(pk__in=counts) if _is_spike(group, hour, counts[group.pk], days[group.pk])]


def _is_spike(group: FailureGroup, hour: datetime, count: int, day: dict[datetime, int]) -> bool:
    known = min(max((hour - group.first_seen) // HOUR, 0), DAY)
    limit = usual([day.get(hour - back * HOUR, 0) for back in range(known, 0, -1)])
    return limit is not None and count > limit
