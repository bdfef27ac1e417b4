"""Operations: bulk work on dead letters. The set is frozen when the row is made; each id gets an outcome."""

from django.conf import settings
from django.db import models

from pools.models.failure import DeadLetter, DeadLetterState
from pools.models.failure_group import FailureGroup
from pools.models.pool import Pool


class OperationKind(models.TextChoices):
    REQUEUE = "requeue", "Requeue"
    DISCARD = "discard", "Discard"
    MOVE = "move", "Move"  # a requeue to another queue
    EDIT = "edit", "Edit and requeue"  # a requeue of one job with another payload
    QUARANTINE = "quarantine", "Quarantine"
    ARCHIVE = "archive", "Archive"
    RESTORE = "restore", "Restore"


# Their jobs run again: they have a plan, and are followed to their end.
RUN_AGAIN = (OperationKind.REQUEUE, OperationKind.MOVE, OperationKind.EDIT)

# Runs nothing and takes nothing away: nobody is asked for an approval, and it counts towards none.
PUTS_BACK = (OperationKind.RESTORE,)


class OperationState(models.TextChoices):
    AWAITING = "awaiting", "Awaiting approval"  # frozen, and a second person is to say yes
    FROZEN = "frozen", "Frozen"
    RUNNING = "running", "Running"
    PAUSED = "paused", "Paused"
    STOPPED = "stopped", "Stopped"  # by itself, until a person says otherwise
    CANCELLED = "cancelled", "Cancelled"
    ENDED = "ended", "Ended"


# From each state to those that may follow, by the verb that leads there.
TRANSITIONS: dict[OperationState, dict[str, OperationState]] = {
    OperationState.AWAITING: {
        "approve": OperationState.RUNNING,
        "decline": OperationState.CANCELLED,
        "cancel": OperationState.CANCELLED,
        "lapse": OperationState.CANCELLED,
    },
    OperationState.FROZEN: {"start": OperationState.RUNNING, "cancel": OperationState.CANCELLED},
    OperationState.RUNNING: {
        "pause": OperationState.PAUSED,
        "stop": OperationState.STOPPED,
        "cancel": OperationState.CANCELLED,
        "end": OperationState.ENDED,
    },
    OperationState.PAUSED: {"resume": OperationState.RUNNING, "cancel": OperationState.CANCELLED},
    OperationState.STOPPED: {"resume": OperationState.RUNNING, "cancel": OperationState.CANCELLED},
    OperationState.CANCELLED: {},
    OperationState.ENDED: {},
}


class Outcome(models.TextChoices):
    PENDING = "pending", "Not sent yet"
    REQUEUED = "requeued", "Requeued"
    DISCARDED = "discarded", "Discarded"
    NOT_FAILED = "not_failed", "Skipped: no longer in the failed registry"
    GONE = "gone", "Skipped: the broker no longer has it"
    DAMAGED = "damaged", "Skipped: its record is damaged"
    CHANGED = "changed", "Skipped: its payload was changed meanwhile"
    FAILED_ANEW = "failed_anew", "Skipped: it has failed anew"
    ORPHANED = "orphaned", "Skipped: a job that it depends on is gone"
    CANCELLED = "cancelled", "Not sent: cancelled"
    RECALLED = "recalled", "Recalled before it ran"
    QUARANTINED = "quarantined", "Quarantined"
    ARCHIVED = "archived", "Archived"
    RESTORED = "restored", "Restored"
    TAKEN = "taken", "Skipped: another job has its id"
    EXPIRED = "expired", "Skipped: no longer kept"
    NOT_SHELVED = "not_shelved", "Skipped: no longer where it lay"
    POISON = "poison", "Skipped: poison"


class Effect(models.TextChoices):
    """What the next run of a requeued job came to. Empty: it has not begun, as far as anybody saw."""

    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED_AGAIN = "failed_again", "Failed again"
    UNKNOWN = "unknown", "End unknown"


class Operation(models.Model):
    """``ids_sha256`` is the SHA-256 of the frozen job ids, sorted, one a line. ``source`` is where they lay when
    they were frozen. ``created_by`` is null when the controller made it.

    ``effects`` counts a requeue's jobs by their effect, as far as their run has ended; ``effect_at`` is when all had.
    ``same_failures`` are those that failed again into the failure group from which they were frozen.

    The canary: when ``canary_count`` jobs are requeued (``canary_sent_at``), nothing more is sent until it is decided
    (``canary_over_at``, with their effects then in ``canary_effects``). ``stop_same_failure`` counts what became known
    after ``guarded_from`` ({"known", "same"}; empty: from the beginning). Shares are percent, the time-out is seconds.
    """

    kind = models.CharField(max_length=20, choices=OperationKind)
    state = models.CharField(max_length=10, choices=OperationState, default=OperationState.RUNNING)
    broker = models.CharField(max_length=50, default="default")
    pools = models.ManyToManyField(Pool, related_name="operations")
    selection = models.JSONField(default=dict)  # the filter or "ids" that the set was frozen from
    to_queue = models.CharField(max_length=255, blank=True)  # of a move, with the pool that serves it
    to_pool = models.ForeignKey(Pool, on_delete=models.PROTECT, null=True, related_name="+")
    source = models.CharField(max_length=12, choices=DeadLetterState, default=DeadLetterState.OPEN)
    reason = models.CharField(max_length=2000)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    actor_kind = models.CharField(max_length=10)
    actor_name = models.CharField(max_length=200)
    request_id = models.CharField(max_length=64, blank=True)
    frozen_count = models.PositiveIntegerField()
    ids_sha256 = models.CharField(max_length=64)
    rate_per_second = models.PositiveIntegerField(null=True)
    # What is on its way, or was last: items up to this position, sent at this time, of which the last ones may have no
    # outcome yet.
    sent_to = models.PositiveIntegerField(null=True)
    sent_at = models.DateTimeField(null=True)
    paced_until = models.DateTimeField(null=True)  # what was sent has used up the rate until then
    wake_at = models.DateTimeField(null=True)  # it waits; the controller sends it on its way again then
    canary_count = models.PositiveIntegerField(null=True)
    canary_min_success = models.PositiveSmallIntegerField(null=True)
    canary_timeout = models.PositiveIntegerField(null=True)
    canary_sent_at = models.DateTimeField(null=True)
    canary_over_at = models.DateTimeField(null=True)
    canary_effects = models.JSONField(default=dict)
    stop_same_failure = models.PositiveSmallIntegerField(null=True)
    same_failures = models.PositiveIntegerField(default=0)
    orphans_stay = models.BooleanField(default=False)  # jobs whose dependency is gone are skipped
    guarded_from = models.JSONField(default=dict)
    stopped_because = models.CharField(max_length=500, blank=True)
    # A recall under way: who, why, how many so far, and the position "below" which items are still to be looked at.
    recall = models.JSONField(default=dict)
    again_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="again")
    created_at = models.DateTimeField(auto_now_add=True)
    progressed_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    effects = models.JSONField(default=dict)
    effect_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            # The controller's search for requeues that it follows.
            models.Index(
                fields=["id"], condition=models.Q(kind__in=RUN_AGAIN, effect_at=None), name="operation_followed"
            ),
            # The controller's search for operations whose wait is over.
            models.Index(
                fields=["wake_at"], condition=models.Q(state="running", wake_at__isnull=False), name="operation_waiting"
            ),
        ]

    def __str__(self) -> str:
        return f"operation {self.pk}"

    @property
    def runs_again(self) -> bool:
        return self.kind in RUN_AGAIN

    @property
    def has_open_canary(self) -> bool:
        """Whether it is to be decided yet if the rest may follow the canary."""
        return self.canary_count is not None and self.canary_over_at is None

    def outcome_counts(self) -> dict[str, int]:
        """Items by outcome; only outcomes that occur."""
        counts = self.items.order_by().values_list("outcome").annotate(n=models.Count("pk"))
        return dict(sorted(counts))


class OperationItem(models.Model):
    # Both are first in an index of the constraints.
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items", db_index=False)
    position = models.PositiveIntegerField()
    dead_letter = models.ForeignKey(
        DeadLetter, on_delete=models.CASCADE, related_name="operation_items", db_index=False
    )
    job_id = models.CharField(max_length=500)
    queue = models.CharField(max_length=255)
    outcome = models.CharField(max_length=12, choices=Outcome, default=Outcome.PENDING)
    at = models.DateTimeField(null=True)
    # Where it lay in the failed registry when the set was frozen, if known: it lies elsewhere when it fails again.
    score = models.FloatField(null=True)
    effect = models.CharField(max_length=12, choices=Effect, blank=True)
    # The failure group when the set was frozen; whether it failed again into the same one, once that is known.
    group = models.ForeignKey(FailureGroup, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    same_failure = models.BooleanField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["operation", "position"], name="operation_item_position"),
            models.UniqueConstraint(fields=["dead_letter", "operation"], name="operation_item_once"),
        ]
        indexes = [
            # The next chunk to send, and the counts by outcome on the operation's page.
            models.Index(fields=["operation", "outcome", "position"], name="operation_item_outcome"),
            # The requeued jobs whose run the controller follows.
            models.Index(
                fields=["operation", "position"],
                condition=models.Q(outcome="requeued", effect__in=("", "running")),
                name="operation_item_followed",
            ),
            # Those that failed again: to be judged, shown, done again.
            models.Index(
                fields=["operation", "position"],
                condition=models.Q(effect="failed_again"),
                name="operation_item_failed_again",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation_id}/{self.position}"
