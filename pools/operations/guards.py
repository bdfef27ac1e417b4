"""What lets an operation go on, or stops it by itself. The row is locked, and whatever is decided commits with it."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from controlplane.wording import duration
from pools.models import Effect, Operation, OperationState, Outcome
from pools.selectors.operations import operation_target
from pools.selectors.phrases import effect_phrase, jobs
from pools.selectors.progress import came_back

ACTOR = "console-jobs"


def stop_for_same_failure(row: Operation) -> bool:
    """Stop the operation when too many of its jobs failed again into the failure group they came from."""
    seen = came_back(row)
    if seen is None or not seen.is_too_much:
        return False
    _stop(row, f"{seen.same:,} of {jobs(seen.known)} failed again for the same cause, more than {seen.limit} %")
    return True


def canary_room(row: Operation) -> int | None:
    """How many jobs the canary still lacks; None when there is no canary to wait for. Skipped jobs prove nothing."""
    if row.canary_count is None or row.canary_over_at is not None:
        return None
    return max(row.canary_count - row.items.filter(outcome=Outcome.REQUEUED).count(), 0)


def decide_canary(row: Operation, now: datetime) -> bool:
    """True when the rest may follow. False: the row says until when it waits (``wake_at``), or is stopped."""
    assert row.canary_min_success is not None and row.canary_timeout is not None
    row.canary_sent_at = row.canary_sent_at or now
    counts = _effects(row)
    total = counts.total()
    still_open = counts[""] + counts[Effect.RUNNING]
    ends = row.canary_sent_at + timedelta(seconds=row.canary_timeout)
    if still_open and now < ends:
        row.wake_at = ends
        row.save(update_fields=["canary_sent_at", "wake_at"])
        return False
    row.canary_effects = dict(sorted(counts.items()))
    if still_open:
        waited = duration(row.canary_timeout)
        _stop(row, f"{still_open:,} of {jobs(total)} of the canary had not ended after {waited}")
        return False
    succeeded = counts[Effect.SUCCEEDED]
    if succeeded * 100 < row.canary_min_success * total:
        _stop(row, f"{succeeded:,} of {jobs(total)} of the canary succeeded, less than {row.canary_min_success} %")
        return False
    row.canary_over_at, row.wake_at = now, None
    row.save(update_fields=["canary_sent_at", "canary_over_at", "canary_effects", "wake_at"])
    _record(row, "operation.canary_passed", after=dict(row.canary_effects), effect=effect_phrase(row.canary_effects))
    return True


def _effects(row: Operation) -> Counter[str]:
    """The requeued jobs by effect; all of them are the canary's."""
    sent = row.items.filter(outcome=Outcome.REQUEUED).order_by()
    return Counter(dict(sent.values_list("effect").annotate(n=Count("pk"))))


def _stop(row: Operation, why: str) -> None:
    row.state, row.stopped_because, row.wake_at = OperationState.STOPPED, why, None
    row.progressed_at = timezone.now()
    row.save()
    before, after = {"state": str(OperationState.RUNNING)}, {"state": str(OperationState.STOPPED)}
    _record(row, "operation.stopped", before=before, after=after, why=why)


def _record(
    row: Operation, action: str, *, after: dict[str, Any], before: dict[str, Any] | None = None, **detail: str
) -> None:
    record(
        actor=system_actor(ACTOR),
        action=action,
        target=operation_target(row, sorted(row.pools.values_list("slug", flat=True))),
        before=before or {},
        after=after,
        reason=row.reason,
        detail=detail | {"started_by": row.actor_name, "request_id": row.request_id},
    )
