"""A failure group: one cause in one pool, what people decided about it, and what they wrote down."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from audit.target import Target
from pools.models.pool import Pool

SNOOZED = "snoozed"
TARGET_NAME = 300  # characters of a group's name in the audit log


class GroupState(models.TextChoices):
    """Where a group stands. A snooze lies over it and hides it for a while: see ``FailureGroup.shown_state``."""

    NEW = "new", "New"
    ACKNOWLEDGED = "acknowledged", "Acknowledged"
    RESOLVED = "resolved", "Resolved"
    REGRESSED = "regressed", "Regressed"


# From each state by verb. ``regress`` is the controller's: a job of a resolved group failed.
TRANSITIONS: dict[GroupState, dict[str, GroupState]] = {
    GroupState.NEW: {"acknowledge": GroupState.ACKNOWLEDGED, "resolve": GroupState.RESOLVED},
    GroupState.ACKNOWLEDGED: {"resolve": GroupState.RESOLVED},
    GroupState.REGRESSED: {"acknowledge": GroupState.ACKNOWLEDGED, "resolve": GroupState.RESOLVED},
    GroupState.RESOLVED: {"reopen": GroupState.ACKNOWLEDGED, "regress": GroupState.REGRESSED},
}


def is_snoozed() -> Q:
    """The condition of ``FailureGroup.is_snoozed``."""
    return (
        Q(snoozed_until__gt=timezone.now())
        | Q(snoozed_total__gt=F("total_count"))
        | Q(snoozed_version__gt=F("pool__published_number"))
    )


class FailureGroup(models.Model):
    """One cause in one pool. ``open_count`` is kept in the transaction that changes a dead letter's state.

    A snooze has one end: ``snoozed_until``, a ``total_count``, or a published config version of the pool. Nobody writes
    when it is over. ``revision`` grows with each change that people see and guards against lost updates.
    """

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="failure_groups")
    digest = models.CharField(max_length=64)
    digest_version = models.PositiveSmallIntegerField(default=1)
    title = models.CharField(max_length=300)
    func = models.CharField(max_length=500)
    exc_type = models.CharField(max_length=300)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    open_count = models.IntegerField(default=0)
    total_count = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=12, choices=GroupState, default=GroupState.NEW)
    state_at = models.DateTimeField(null=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    snoozed_until = models.DateTimeField(null=True)
    snoozed_total = models.PositiveIntegerField(null=True)
    snoozed_version = models.PositiveIntegerField(null=True)
    runbook_url = models.URLField(max_length=500, blank=True)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pool", "digest"], name="failure_group_digest")]
        indexes = [
            # The inbox: groups with open dead letters, newest failure first.
            models.Index(fields=["-last_seen", "-id"], condition=Q(open_count__gt=0), name="failure_group_inbox")
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def error(self) -> str:
        """The exception's name without its module."""
        return self.exc_type.rpartition(".")[2] or self.title

    @property
    def is_snoozed(self) -> bool:
        return (
            (self.snoozed_until is not None and self.snoozed_until > timezone.now())
            or (self.snoozed_total is not None and self.snoozed_total > self.total_count)
            or (self.snoozed_version is not None and self.snoozed_version > self.pool.published_number)
        )

    @property
    def shown_state(self) -> str:
        """``snoozed`` while a snooze lasts, then again what the group was before."""
        return SNOOZED if self.is_snoozed else self.state

    @property
    def runbook(self) -> str:
        """Its own, or its pool's."""
        return self.runbook_url or self.pool.runbook_url

    @property
    def target(self) -> Target:
        """What an event about this group is about. The message stays out of the log, which forgets nothing."""
        name = f"{self.error} in {self.func}" if self.exc_type else self.func
        return Target(kind="failure_group", id=str(self.pk), name=name[:TARGET_NAME], pool=self.pool.slug)


class GroupNote(models.Model):
    """What somebody wrote about a group, or decided: ``did`` is empty for a mere note, ``text`` where no reason was
    given."""

    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, related_name="notes")
    at = models.DateTimeField(auto_now_add=True)
    author_name = models.CharField(max_length=200)
    did = models.CharField(max_length=300, blank=True)
    text = models.CharField(max_length=2000, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.text or self.did


class FailureHour(models.Model):
    """Failures of a group in one hour, for its sparkline."""

    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    count = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["group", "hour"], name="failure_hour")]

    def __str__(self) -> str:
        return f"{self.group} {self.hour}"
