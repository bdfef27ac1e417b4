"""Another group for dead letters of a group that is there: in another pool, or of a cause told apart from it."""

from django.db import transaction
from django.db.models import F

from pools.broker.fingerprint import Fingerprint
from pools.models import FailureGroup, Pool


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
