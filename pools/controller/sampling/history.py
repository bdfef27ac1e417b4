"""Each pool's history: 10 s points, rolled up to minutes and hours, each kept for its time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import Max, Sum

from pools.models import PoolNow, PoolSample, Resolution

KEEP = {
    Resolution.TEN_SECONDS: timedelta(hours=2),
    Resolution.MINUTE: timedelta(hours=48),
    Resolution.HOUR: timedelta(days=90),
}
ROLL_UPS = [(Resolution.TEN_SECONDS, Resolution.MINUTE), (Resolution.MINUTE, Resolution.HOUR)]
LEVELS = ["waiting", "oldest_seconds", "workers", "busy"]
SUMS = ["done", "failed"]

type Point = dict[str, int]


class History:
    """Gathers looks and writes one point a pool when its ten seconds are over."""

    def __init__(self) -> None:
        self._at: datetime | None = None
        self._points: dict[int, list[Point]] = defaultdict(list)
        self.failed_last_hour: dict[int, int] = {}

    def add(self, figures: Iterable[PoolNow], done: dict[int, int], failed: dict[int, int], now: datetime) -> None:
        """Add a look; write the points of the ten seconds before, when this look begins new ones."""
        at = floor(now, Resolution.TEN_SECONDS)
        if self._at is not None and at != self._at:
            self._write(self._at, now)
            self._points.clear()
        self._at = at
        for row in figures:
            oldest = row.oldest_enqueued_at
            self._points[row.pool_id].append(
                {
                    "waiting": row.waiting,
                    "oldest_seconds": max(round((now - oldest).total_seconds()), 0) if oldest else 0,
                    "workers": row.workers,
                    "busy": row.busy,
                    "done": done.get(row.pool_id, 0),
                    "failed": failed.get(row.pool_id, 0),
                }
            )

    def _write(self, at: datetime, now: datetime) -> None:
        rows = [_sample(pool_id, Resolution.TEN_SECONDS, at, points) for pool_id, points in self._points.items()]
        # A point that is there was written by the leader before us in the same ten seconds.
        PoolSample.objects.bulk_create(rows, ignore_conflicts=True)
        for fine, coarse in ROLL_UPS:
            roll_up(fine, coarse, now)
        for resolution, kept in KEEP.items():
            PoolSample.objects.filter(resolution=resolution, at__lt=now - kept).delete()
        hour = PoolSample.objects.filter(resolution=Resolution.TEN_SECONDS, at__gte=now - timedelta(hours=1))
        self.failed_last_hour = dict(hour.values_list("pool").annotate(Sum("failed")).order_by())


def roll_up(fine: Resolution, coarse: Resolution, now: datetime) -> None:
    """Make the coarse points that are due and not there: of each period that has ended and that ``fine`` covers."""
    newest = PoolSample.objects.filter(resolution=coarse).aggregate(newest=Max("at"))["newest"]
    start = newest + timedelta(seconds=coarse) if newest else floor(now - KEEP[fine], coarse)
    end = floor(now, coarse)
    if start >= end:
        return
    groups: dict[tuple[int, datetime], list[Point]] = defaultdict(list)
    points = PoolSample.objects.filter(resolution=fine, at__gte=start, at__lt=end)
    for row in points.values("pool_id", "at", *LEVELS, *SUMS):
        groups[row.pop("pool_id"), floor(row.pop("at"), coarse)].append(row)
    PoolSample.objects.bulk_create(
        [_sample(pool_id, coarse, at, rows) for (pool_id, at), rows in groups.items()], ignore_conflicts=True
    )


def floor(moment: datetime, resolution: int) -> datetime:
    """The start of the period of ``resolution`` seconds that ``moment`` lies in."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % resolution, UTC)


def _sample(pool_id: int, resolution: Resolution, at: datetime, points: Sequence[Point]) -> PoolSample:
    levels = {name: round(sum(point[name] for point in points) / len(points)) for name in LEVELS}
    sums = {name: sum(point[name] for point in points) for name in SUMS}
    return PoolSample(pool_id=pool_id, resolution=resolution, at=at, **levels, **sums)
