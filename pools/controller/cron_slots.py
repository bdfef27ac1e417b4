"""What agents report of cron slots becomes rows, once each; then how far the slots' jobs came is added."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import structlog
from django.db.models import Exists, OuterRef
from pydantic import Field, ValidationError

from pools.broker.connection import get_broker
from pools.broker.events import Event
from pools.broker.job_ends import LIMIT, JobEnd, read_ends
from pools.controller.event_bodies import Body, Text
from pools.controller.lease import LeaderLease
from pools.controller.untrusted import Number, cut, name
from pools.models import CronSlot, Pool, SlotEnd, SlotOutcome

EVENT = "cron.slot"
KEEP = timedelta(days=7)
LATEST = 253_402_300_799  # the last second that a column can hold

log = structlog.get_logger(__name__)


class CronReport(Body):
    pool_uid: Text
    name: Annotated[str, name(63)]
    slot: Annotated[int, Field(ge=0, le=LATEST)]
    outcome: SlotOutcome
    job_id: Annotated[str, cut(200)] = ""
    queue: Annotated[str, cut(255)] = ""
    config: Number | None = None


def absorb_slots(lease: LeaderLease, events: Sequence[Event], read_at: datetime) -> None:
    """Rows of the reported slots. The same report again changes nothing."""
    if not events:
        return
    pools = {str(pool.uid): pool for pool in Pool.objects.all()}
    rows = [row for event in events if (row := _row(event, pools, read_at)) is not None]
    with lease.fenced():
        CronSlot.objects.bulk_create(rows, ignore_conflicts=True)


def _row(event: Event, pools: dict[str, Pool], read_at: datetime) -> CronSlot | None:
    try:
        body = CronReport.model_validate(event.body)
    except ValidationError as error:
        log.warning("event.malformed", id=event.id, type=event.type, error=str(error)[:500])
        return None
    pool = pools.get(body.pool_uid)
    if pool is None:
        return None
    return CronSlot(
        pool=pool,
        name=body.name,
        slot_at=datetime.fromtimestamp(body.slot, UTC),
        outcome=body.outcome,
        job_id=body.job_id if body.outcome == SlotOutcome.ENQUEUED else "",
        queue=body.queue,
        agent=body.agent[:100],
        config_number=body.config,
        reported_at=read_at,
    )


def sweep_slots(now: datetime) -> None:
    """Forget old slots, but for each entry's newest: a yearly job's last run is worth knowing."""
    newer = CronSlot.objects.filter(pool=OuterRef("pool"), name=OuterRef("name"), slot_at__gt=OuterRef("slot_at"))
    old = CronSlot.objects.filter(Exists(newer), reported_at__lt=now - KEEP)
    CronSlot.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:10_000])).delete()


class CronEnds:
    """Looks at the newest jobs of which no end is known, a thousand at most, in two round trips."""

    name = "cron_ends"
    interval = 2.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias

    def tick(self) -> bool:
        open_ = CronSlot.objects.filter(outcome=SlotOutcome.ENQUEUED, end__in=[SlotEnd.WAITING, SlotEnd.RUNNING])
        rows = list(open_.order_by("-pk")[:LIMIT])
        if not rows:
            return False
        ends = read_ends(get_broker(self._alias), [(row.job_id, row.queue) for row in rows])
        changed = []
        for row, end in zip(rows, ends, strict=True):
            before, row.end = row.end, _end(row, end)
            if row.end != before:
                changed.append(row)
        with self._lease.fenced():
            CronSlot.objects.bulk_update(changed, ["end"], batch_size=500)
        return False


def _end(row: CronSlot, end: JobEnd) -> str:
    if end == JobEnd.GONE:
        # rq deletes a job without a result's lifetime as it succeeds, and keeps those that failed.
        return SlotEnd.SUCCEEDED if row.end == SlotEnd.RUNNING else SlotEnd.UNKNOWN
    return {
        JobEnd.WAITING: SlotEnd.WAITING,
        JobEnd.RUNNING: SlotEnd.RUNNING,
        JobEnd.SUCCEEDED: SlotEnd.SUCCEEDED,
        JobEnd.FAILED: SlotEnd.FAILED,
        JobEnd.CALLED_OFF: SlotEnd.UNKNOWN,
    }[end]
