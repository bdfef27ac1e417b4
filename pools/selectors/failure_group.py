"""One failure group: when it happens, where it happens."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from pools.models import ConfigVersion, DeadLetter, DeadLetterState, FailureGroup, FailureHour
from pools.selectors.triage import Tally

HOURS = 24
UNKNOWN = "not known"
BEFORE = timedelta(days=1)
CONFIG = "Config version"
# In the order of the index that answers it.
FACETS = {
    CONFIG: "config_number",
    "Host": "host",
    "Queue": "queue",
    "Python": "python_version",
    "rq": "rq_version",
}


@dataclass(frozen=True)
class Facet:
    """What the group's open dead letters have in common, by one property. ``only``: the single value of them all."""

    name: str
    tally: Tally
    only: str


@dataclass(frozen=True)
class History:
    """Failures an hour: ``data`` for the chart tag, ``label`` the same in words."""

    data: dict[str, Any]
    label: str


def history(group: FailureGroup) -> History:
    """Over the last ``HOURS`` hours, with the config versions that were published in between."""
    this = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = [this - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
    counts = dict(FailureHour.objects.filter(group=group, hour__gte=hours[0]).values_list("hour", "count"))
    values = [counts.get(hour, 0) for hour in hours]
    peak = max(values)
    label = f"Failures an hour over the last {HOURS} hours, UTC: {sum(values):,} in all, at most {peak:,} an hour"
    series = [{"label": "Failures", "values": values, "tone": "bad" if peak else ""}]
    marks = _marks(group, hours[0])
    return History({"times": [int(hour.timestamp()) for hour in hours], "series": series, "marks": marks}, label)


def counted(group: FailureGroup) -> QuerySet[DeadLetter, tuple[Any, ...]]:
    """The values of ``FACETS`` with the number of open dead letters that have them, from one index alone."""
    found = DeadLetter.objects.filter(group=group, state=DeadLetterState.OPEN).order_by()
    return found.values_list(*FACETS.values()).annotate(n=Count("group"))


def where(group: FailureGroup) -> list[Facet]:
    """What the open dead letters ran on."""
    counters: list[Counter[str]] = [Counter() for _ in FACETS]
    for *values, count in counted(group):
        for counter, value in zip(counters, values, strict=True):
            counter[f"v{value}" if isinstance(value, int) else value or UNKNOWN] += count
    return [Facet(name, Tally.of(counter), _only(counter)) for name, counter in zip(FACETS, counters, strict=True)]


def newest(group: FailureGroup) -> DeadLetter | None:
    """The dead letter that failed last, an open one if there is any, with its detail."""
    found = DeadLetter.objects.filter(group=group).select_related("pool", "group", "detail")
    latest = found.filter(state=DeadLetterState.OPEN).order_by("-failed_at", "-pk").first()
    return latest or found.order_by("-failed_at", "-pk").first()


def claim(group: FailureGroup, facets: list[Facet]) -> str:
    """What all of them share, as a sentence; empty when they share nothing that tells them from other jobs."""
    only = {facet.name: facet.only for facet in facets}
    shared = []
    if only[CONFIG] and _others_ran(group, only[CONFIG]):
        shared.append(only[CONFIG])
    if only["Host"]:
        shared.append(f"host {only['Host']}")
    if only["Queue"] and not shared and len(group.pool.queues) > 1:
        shared.append(f"queue {only['Queue']}")
    return f"Only on {' and '.join(shared)}" if shared else ""


def _others_ran(group: FailureGroup, version: str) -> bool:
    """Whether the pool ran another config version than ``v41`` between a day before the first failure and the last."""
    end: datetime | None = None
    signed = ConfigVersion.objects.filter(pool=group.pool_id, signed_at__lte=group.last_seen).order_by("-number")
    for number, signed_at in signed.values_list("number", "signed_at"):
        if end is not None and end < group.first_seen - BEFORE:
            return False
        if f"v{number}" != version:
            return True
        end = signed_at
    return False


def _only(counter: Counter[str]) -> str:
    values = list(counter)
    return values[0] if len(values) == 1 and values[0] != UNKNOWN else ""


def _marks(group: FailureGroup, since: datetime) -> list[dict[str, Any]]:
    published = ConfigVersion.objects.filter(pool=group.pool_id, signed_at__gte=since).order_by("number")[:10]
    return [
        {"at": int(version.signed_at.timestamp()), "label": f"config v{version.number}", "tone": "accent"}
        for version in published
        if version.signed_at
    ]
