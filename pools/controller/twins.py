"""Another group for dead letters of a group that is there: in another pool, or of a cause told apart from it."""

from django.db import transaction
from django.db.models import F

from pools.broker.fingerprint import Fingerprint
from pools.models import FailureGroup, Pool

DECIDED = ("state", "state_at", "owner_id", "snoozed_until", "runbook_url")
"""What people decided about a group and also holds for its twin: no count of failures, no version of another pool."""


@transaction.atomic
def twin(group: FailureGroup, pool: Pool, cause: Fingerprint) -> FailureGroup:
    """The group of this cause in this pool. It inherits what people decided, unless they decided about it already."""
    found, made = FailureGroup.objects.get_or_create(
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
    if made or found.revision == 1:
        for name in DECIDED:
            setattr(found, name, getattr(group, name))
        found.save(update_fields=DECIDED)
    return found


def move(old: FailureGroup, new: FailureGroup, *, opened: int, failures: int) -> None:
    """Count so many dead letters, of which ``opened`` are open, in ``new`` instead of in ``old``."""
    rows = FailureGroup.objects.in_bulk([old.pk, new.pk])
    began, ended = min(row.first_seen for row in rows.values()), max(row.last_seen for row in rows.values())
    for pk, sign in sorted(((old.pk, -1), (new.pk, 1))):
        counts = {"open_count": F("open_count") + sign * opened, "total_count": F("total_count") + sign * failures}
        seen = {"first_seen": began, "last_seen": ended} if pk == new.pk else {}
        FailureGroup.objects.filter(pk=pk).update(**counts, **seen)
