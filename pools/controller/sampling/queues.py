"""Queues as sampled."""

from collections.abc import Sequence
from dataclasses import dataclass

from pools.broker.sampler import QueueSnapshot
from pools.controller.claims import Claims
from pools.controller.sampling.changes import snapshot, upsert
from pools.models import PoolKind, QueueState

COUNTS = ["depth", "oldest_enqueued_at", "started", "failed", "deferred", "scheduled"]
FIELDS = ["pool_id", *COUNTS]
NOTHING = QueueSnapshot("", 0, None, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class QueueRows:
    """All queues of a broker, those that changed, and the ids of those that are no more."""

    rows: list[QueueState]
    changed: list[QueueState]
    vanished: list[int]

    def write(self) -> None:
        upsert(self.changed, ["broker", "name"], ["pool", *COUNTS])
        if self.vanished:
            QueueState.objects.filter(pk__in=self.vanished).delete()


def queue_rows(alias: str, seen: Sequence[QueueSnapshot], known: set[str], claims: Claims) -> QueueRows:
    """``known`` names queues that need not be on the broker yet: configured ones, and those that workers listen on."""
    stored = {row.name: row for row in QueueState.objects.filter(broker=alias)}
    snapshots = {queue.name: queue for queue in seen}
    rows, changed = [], []
    for name in sorted({*snapshots, *known}):
        pool = claims.pool_of(name)
        if pool is None:
            continue
        row = stored.pop(name, None) or QueueState(broker=alias, name=name)
        before = snapshot(row, FIELDS)
        row.pool = pool
        queue = snapshots.get(name, NOTHING)
        for field in COUNTS:
            setattr(row, field, getattr(queue, field))
        rows.append(row)
        if row.pk is None or snapshot(row, FIELDS) != before:
            changed.append(row)
    return QueueRows(rows, changed, [row.pk for row in stored.values()])


def unclaimed(rows: Sequence[QueueState]) -> list[str]:
    """The queues of the attached pool."""
    return [row.name for row in rows if row.pool.kind == PoolKind.ATTACHED]
