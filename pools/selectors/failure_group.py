"""One failure group: when it happens, where it happens."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from pools.models import ConfigVersion, DeadLetter, DeadLetterState, FailureGroup, FailureHour
from pools.selectors.triage import Tally

HOURS = 24
UNKNOWN = "not known"


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


def where(group: FailureGroup) -> list[Facet]:
    """Config versions, hosts, queues and workers of the open dead letters, in one query."""
    found = DeadLetter.objects.filter(group=group, state=DeadLetterState.OPEN).order_by()
    rows = found.values_list("config_number", "host", "queue", "worker").annotate(n=Count("pk"))
    facets: dict[str, Counter[str]] = {name: Counter() for name in ("Config version", "Host", "Queue", "Worker")}
    for config, host, queue, worker, count in rows:
        values = (f"v{config}" if config else UNKNOWN, host or UNKNOWN, queue, worker or UNKNOWN)
        for counter, value in zip(facets.values(), values, strict=True):
            counter[value] += count
    return [Facet(name, Tally.of(counter), _only(counter)) for name, counter in facets.items()]


def newest(group: FailureGroup) -> DeadLetter | None:
    """The dead letter that failed last, an open one if there is any, with its detail."""
    found = DeadLetter.objects.filter(group=group).select_related("pool", "group", "detail")
    latest = found.filter(state=DeadLetterState.OPEN).order_by("-failed_at", "-pk").first()
    return latest or found.order_by("-failed_at", "-pk").first()


def claim(facets: list[Facet]) -> str:
    """What all of them share, as a sentence; empty when they share nothing that is known."""
    by_name = {facet.name: facet.only for facet in facets}
    shared = []
    if by_name["Config version"]:
        shared.append(f"workers that run config {by_name['Config version']}")
    if by_name["Host"]:
        shared.append(f"host {by_name['Host']}")
    if by_name["Queue"] and not shared:
        shared.append(f"queue {by_name['Queue']}")
    return f"Only on {' and '.join(shared)}" if shared else ""


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
