"""Another group for dead letters of a group that is there: in another pool, or of a cause told apart from it."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models import F

from pools.broker.fingerprint import Fingerprint
from pools.controller import bulk
from pools.controller.regressions import CONTROLLER
from pools.models import FailureGroup, FailureHour, GroupNote, Pool

DECIDED = ("state", "state_at", "owner_id", "snoozed_until", "snoozed_version", "runbook_url", "revision")
"""What holds for a group that parts from another as well; a snooze by a number of failures does not."""
OF_THE_POOL = ("owner_id", "snoozed_version")
"""What does not hold in another pool: its people and its versions are others."""


@transaction.atomic
def twin(group: FailureGroup, pool: Pool, cause: Fingerprint) -> FailureGroup:
    """The group of this cause in this pool, made when it is missing."""
    found, _ = FailureGroup.objects.get_or_create(
        pool=pool,
        digest=cause.digest,
        defaults={
            "digest_version": cause.version,
            "title": cause.title,
            "func": group.func,
            "exc_type": group.exc_type,
            "first_seen": group.first_seen,
            "last_seen": group.last_seen,
        },
    )
    return found


def move(old: FailureGroup, new: FailureGroup, *, opened: int, failures: int) -> None:
    """Count so many dead letters, of which ``opened`` are open, in ``new`` instead of in ``old``."""
    rows = FailureGroup.objects.in_bulk([old.pk, new.pk])
    began, ended = min(row.first_seen for row in rows.values()), max(row.last_seen for row in rows.values())
    for pk, sign in sorted(((old.pk, -1), (new.pk, 1))):
        counts = {"open_count": F("open_count") + sign * opened, "total_count": F("total_count") + sign * failures}
        seen = {"first_seen": began, "last_seen": ended} if pk == new.pk else {}
        FailureGroup.objects.filter(pk=pk).update(**counts, **seen)


def inherited(old: FailureGroup, new: FailureGroup) -> FailureGroup:
    """``new`` with what was decided about the old group, unless something was about the new one."""
    if new.revision == 1 < old.revision:
        names = [name for name in DECIDED if new.pool_id == old.pool_id or name not in OF_THE_POOL]
        for name in names:
            setattr(new, name, getattr(old, name))
        new.save(update_fields=names)
        GroupNote.objects.create(group=new, author_name=CONTROLLER.name, did=f"took this over from group {old.pk}")
    return new


def move_hours(old: FailureGroup, new: FailureGroup, failed: Iterable[datetime]) -> None:
    """What the chart of one group loses, that of the other gains; hours that are kept no longer, neither."""
    hours = Counter(at.replace(minute=0, second=0, microsecond=0) for at in failed)
    kept = FailureHour.objects.filter(group=old, hour__in=hours)
    rows = [(new.pk, hour, min(count, hours[hour])) for hour, count in kept.values_list("hour", "count")]
    for _, hour, count in rows:
        kept.filter(hour=hour).update(count=F("count") - count)
    bulk.write(FailureHour, ["group_id", "hour", "count"], rows, unique=["group_id", "hour"], adding=True)
