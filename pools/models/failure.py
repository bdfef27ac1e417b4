"""Dead letters, grouped by cause: a read model of RQ's failed registries, which stay the truth."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, models, transaction
from django.utils import timezone

from pools.models.failure_group import FailureGroup
from pools.models.pool import Pool

VANISHING_SOON = timedelta(hours=24)
FILTERED = ("queue", "host", "config_number", "expires_at")
"""What a filter asks of a dead letter beside its state and time; all else it asks of the group."""


class DeadLetterState(models.TextChoices):
    OPEN = "open", "Dead"
    REQUEUED = "requeued", "Requeued"
    DISCARDED = "discarded", "Discarded"
    QUARANTINED = "quarantined", "Quarantined"
    ARCHIVED = "archived", "Archived"
    GONE = "gone", "Gone from the broker"  # expired, or moved by another tool


SHELVED = (DeadLetterState.DISCARDED, DeadLetterState.QUARANTINED, DeadLetterState.ARCHIVED)
"""Where a job may lie on a shelf, from which it can be restored; the discarded ones' is the trash."""


def still_there(state: DeadLetterState, now: datetime) -> models.Q:
    """The condition for those in ``state`` which, when that is a shelf, still lie there."""
    kept = (
        models.Q(shelved_until__gt=now)
        if state in (DeadLetterState.DISCARDED, DeadLetterState.ARCHIVED)
        else models.Q()
    )
    return models.Q(state=state) & kept


def is_poison() -> models.Q:
    """The condition for those that came back from as many requeues as their pool allows."""
    limit = models.Q(pool__poison_after__gt=0, came_back__gte=models.F("pool__poison_after"))
    return models.Q(state=DeadLetterState.OPEN, came_back__gt=0) & limit


def is_refused() -> models.Q:
    """The condition for those that workers refused to run, and that nobody has looked at and restored since."""
    return models.Q(state=DeadLetterState.OPEN, refused=True)


class DeadLetterQuerySet(models.QuerySet["DeadLetter"]):
    def close(self, state: DeadLetterState, at: datetime, until: datetime | None = None) -> int:
        """Move those that are open to ``state``, where they are kept ``until`` then, and keep their groups' counts.
        Returns how many moved.

        Safe beside the ingester, the scanner and other operations: only rows that are still open count.
        """
        return self._change(DeadLetterState.OPEN, -1, state=state, closed_at=at, shelved_until=until)

    def reopen(self, state: DeadLetterState, **also: Any) -> int:
        """Take back that they were moved to ``state``, as ``close`` does it, and set what is to be set ``also``.
        Returns how many are open again."""
        return self._change(state, 1, state=DeadLetterState.OPEN, closed_at=None, shelved_until=None, **also)

    def _change(self, before: DeadLetterState, opened: int, **after: Any) -> int:
        """Write ``after`` to those in the state ``before``, locked in the order of their keys, in one statement that
        says which groups they are of; each adds ``opened`` to the open count of its group. Returns how many.
        """
        rows = self.filter(state=before).order_by("pk").select_for_update(of=("self",)).values("pk")
        columns = {field.name: field for field in self.model._meta.concrete_fields}
        told = {name: columns[name].get_db_prep_save(value, connection) for name, value in after.items()}
        assigned = ", ".join(f"{connection.ops.quote_name(name)} = %s" for name in told)
        table = connection.ops.quote_name(self.model._meta.db_table)
        try:
            sql, params = rows.query.sql_with_params()
        except EmptyResultSet:  # nothing can match: Django makes no statement of that
            return 0
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    f"UPDATE {table} SET {assigned} WHERE id IN ({sql}) RETURNING group_id",  # noqa: S608
                    [*told.values(), *params],
                )
                groups = Counter(group for (group,) in cursor.fetchall())
            for group, number in sorted(groups.items()):
                FailureGroup.objects.filter(pk=group).update(open_count=models.F("open_count") + opened * number)
        return groups.total()


class DeadLetter(models.Model):
    """A failed job as the broker last showed it. When it fails again its row changes; the earlier one is an attempt."""

    broker = models.CharField(max_length=50, default="default")
    job_id = models.CharField(max_length=500)
    # That of its group, which lists go by.
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="dead_letters", db_index=False)
    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, related_name="dead_letters", db_index=False)
    state = models.CharField(max_length=12, choices=DeadLetterState, default=DeadLetterState.OPEN)
    queue = models.CharField(max_length=255)
    func = models.CharField(max_length=500)
    # Their shape, every value masked.
    arguments = models.CharField(max_length=300, blank=True)
    exc_type = models.CharField(max_length=300)
    message = models.CharField(max_length=1000)
    failed_at = models.DateTimeField()
    created_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    worker = models.CharField(max_length=255, blank=True)
    host = models.CharField(max_length=255, blank=True)
    config_number = models.PositiveIntegerField(null=True)
    rq_version = models.CharField(max_length=50, blank=True)
    python_version = models.CharField(max_length=50, blank=True)
    attempts = models.PositiveIntegerField(default=1)
    damaged = models.CharField(max_length=200, blank=True)
    closed_at = models.DateTimeField(null=True)
    # Until when the broker keeps a discarded or archived job; null when it does so no longer, or for ever.
    shelved_until = models.DateTimeField(null=True)
    # Requeues after which it failed again for the same cause, since it last failed for another or was restored.
    came_back = models.PositiveSmallIntegerField(default=0)
    # Whether its last failure was a worker's refusal to run it, and nobody has restored it from a shelf since.
    refused = models.BooleanField(default=False)
    # Its place in RQ's failed registry: when it expires there, in unix seconds; -1 never; null not known yet.
    score = models.FloatField(null=True)
    # Of the message, those that its group's title does not say: what a search finds single jobs by.
    words = models.CharField(max_length=2500, blank=True)

    objects = DeadLetterQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["broker", "job_id"], name="dead_letter_job")]
        indexes = [
            # Lists newest first, of all and of a group. What filters ask of a job stands beside its place, so that the
            # index alone says which jobs match, and how many.
            models.Index(fields=["state", "-failed_at", "-id", "group", *FILTERED], name="dead_letter_newest"),
            models.Index(fields=["group", "state", "-failed_at", "-id", *FILTERED], name="dead_letter_group"),
            # Where the open ones of a group happen, counted from the index alone, in its order; what filters by version
            # count.
            models.Index(
                fields=[
                    "group",
                    "state",
                    "config_number",
                    "host",
                    "queue",
                    "python_version",
                    "rq_version",
                    "failed_at",
                ],
                condition=models.Q(state="open"),
                name="dead_letter_where",
            ),
            # What filters by host count. Stock workers name none.
            models.Index(
                fields=["group", "state", "host", "failed_at"],
                condition=models.Q(state="open") & ~models.Q(host=""),
                name="dead_letter_host",
            ),
            # The scanner's comparison with one failed registry, and what filters by queue count.
            models.Index(
                fields=[
                    "broker",
                    "queue",
                    "score",
                    "group",
                    "failed_at",
                    "host",
                    "config_number",
                    "expires_at",
                    "state",
                ],
                condition=models.Q(state="open"),
                name="dead_letter_registry",
            ),
            # What lies in the trash or in the archive: lists newest first, and their counts from the index alone.
            models.Index(
                fields=["state", "-failed_at", "-id", "pool", "shelved_until"],
                condition=models.Q(shelved_until__isnull=False),
                name="dead_letter_shelf",
            ),
            # What there is kept no longer.
            models.Index(
                fields=["shelved_until"], condition=models.Q(shelved_until__isnull=False), name="dead_letter_expired"
            ),
            # Jobs that come back: what the guard against poison looks at.
            models.Index(
                fields=["state", "came_back", "pool"], condition=models.Q(came_back__gt=0), name="dead_letter_poison"
            ),
            # Jobs that workers refused, and the quarantine, by pool.
            models.Index(fields=["state", "pool"], condition=models.Q(refused=True), name="dead_letter_refused"),
            models.Index(fields=["pool"], condition=models.Q(state="quarantined"), name="dead_letter_quarantine"),
            # What vanishes soon, by pool, and what filters by that count.
            models.Index(
                fields=["pool", "expires_at", "group", "failed_at", "state"],
                condition=models.Q(state="open"),
                name="dead_letter_vanishing",
            ),
        ]

    def __str__(self) -> str:
        return self.job_id

    @property
    def is_restorable(self) -> bool:
        """Whether it lies on a shelf."""
        kept = self.shelved_until is not None and self.shelved_until > timezone.now()
        return self.state == DeadLetterState.QUARANTINED or (self.state in SHELVED and kept)

    @property
    def error(self) -> str:
        """The exception's name without its module."""
        return self.exc_type.rpartition(".")[2]

    @property
    def vanishes_soon(self) -> bool:
        """Whether RQ deletes it within a day."""
        at = self.expires_at if self.state == DeadLetterState.OPEN else None
        return at is not None and at < timezone.now() + VANISHING_SOON

    @property
    def ran_for(self) -> float | None:
        """Seconds from its start to its failure, None when it never started."""
        return max((self.failed_at - self.started_at).total_seconds(), 0.0) if self.started_at else None


class DeadLetterDetail(models.Model):
    """The traceback, apart so that lists stay narrow. zlib-compressed UTF-8, redacted before it came here."""

    dead_letter = models.OneToOneField(DeadLetter, primary_key=True, on_delete=models.CASCADE, related_name="detail")
    traceback = models.BinaryField()

    def __str__(self) -> str:
        return str(self.dead_letter_id)


class SearchableArgument(models.Model):
    """That a dead letter's job was called with a certain value under a path that its pool names: see
    ``pools.arguments``."""

    dead_letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="searchable", db_index=False)
    path = models.CharField(max_length=100)
    digest = models.BinaryField(max_length=16)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["dead_letter", "path"], name="searchable_argument")]
        indexes = [models.Index(fields=["path", "digest", "dead_letter"], name="searchable_argument_value")]

    def __str__(self) -> str:
        return f"{self.dead_letter_id} {self.path}"


class FailedAttempt(models.Model):
    """An earlier failure of a job that failed again."""

    dead_letter = models.ForeignKey(DeadLetter, on_delete=models.CASCADE, related_name="earlier")
    number = models.PositiveIntegerField()
    failed_at = models.DateTimeField()
    exc_type = models.CharField(max_length=300)
    message = models.CharField(max_length=1000)
    worker = models.CharField(max_length=255, blank=True)
    config_number = models.PositiveIntegerField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["dead_letter", "number"], name="failed_attempt_number")]

    def __str__(self) -> str:
        return f"{self.dead_letter} attempt {self.number}"
