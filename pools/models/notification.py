"""Notes to people: channels, what each is to tell, and the messages that were made of it."""

import uuid
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Q
from django.utils import timezone

from audit.target import Target
from pools.models.failure_group import FailureGroup
from pools.models.pool import Criticality, Pool, Team

HOUR = timedelta(hours=1)
LEAST_FIRST = [Criticality.INTERNAL, Criticality.LOW, Criticality.STANDARD, Criticality.CRITICAL]


class ChannelKind(models.TextChoices):
    WEBHOOK = "webhook", "Webhook"
    EMAIL = "email", "E-mail"


class Occasion(models.TextChoices):
    """Why people are told about a failure group."""

    NEW = "new", "New failure group"
    REGRESSED = "regressed", "Regression"
    SPIKE = "spike", "Spike"


class Held(models.TextChoices):
    """What kept a notice from the message that it would have been in."""

    NOTHING = "", "Nothing"
    CAP = "cap", "The limit of messages an hour"
    QUIET_HOURS = "quiet_hours", "Quiet hours"


class DeliveryState(models.TextChoices):
    WAITING = "waiting", "On its way"
    DELIVERED = "delivered", "Delivered"
    GIVEN_UP = "given_up", "Given up"


class NotificationChannel(models.Model):
    """Where notes go, and which: those of the team's pools, or of one of them. ``name`` stays, for the webhook's key is
    found by it. Nothing here is secret: ``url`` has neither password nor query, and the key is the controller's.

    Between ``quiet_from`` and ``quiet_to``, wall clock in ``quiet_zone``, only what concerns critical pools is sent.
    """

    name = models.SlugField(max_length=50, unique=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    pool = models.ForeignKey(Pool, null=True, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10, choices=ChannelKind)
    url = models.CharField(max_length=500, blank=True)
    recipients = models.JSONField(default=list)
    occasions = models.JSONField(default=list)
    min_criticality = models.CharField(max_length=10, choices=Criticality, default=Criticality.LOW)
    quiet_from = models.TimeField(null=True)
    quiet_to = models.TimeField(null=True)
    quiet_zone = models.CharField(max_length=100, default="UTC")
    per_hour = models.PositiveSmallIntegerField(default=12)
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def target(self) -> Target:
        """What an event about this channel is about."""
        pool = self.pool.slug if self.pool else ""
        return Target(kind="notification_channel", id=str(self.pk), name=self.name, pool=pool)

    @property
    def key_suffix(self) -> str:
        """What the variable ends with that holds a webhook's key."""
        return self.name.upper().replace("-", "_")

    def covers(self, pool: Pool) -> bool:
        """Is the pool one of those it speaks of?"""
        if self.pool_id is not None and self.pool_id != pool.pk:
            return False
        enough = LEAST_FIRST.index(Criticality(pool.criticality)) >= LEAST_FIRST.index(
            Criticality(self.min_criticality)
        )
        return pool.team_id == self.team_id and enough

    def is_quiet(self, at: datetime) -> bool:
        """Do its quiet hours go on? They may pass midnight; the end is not part of them."""
        if self.quiet_from is None or self.quiet_to is None:
            return False
        clock = at.astimezone(ZoneInfo(self.quiet_zone)).time()
        if self.quiet_from < self.quiet_to:
            return self.quiet_from <= clock < self.quiet_to
        return clock >= self.quiet_from or clock < self.quiet_to

    def messages_left(self, now: datetime) -> int:
        """How many more it may send in this hour; test messages count."""
        return self.per_hour - self.deliveries.filter(created_at__gt=now - HOUR).count()


class NotificationDelivery(models.Model):
    """One message of a channel, stored before it is sent. ``payload`` is what it says, without a secret or a value of a
    job; ``uid`` goes with each attempt, so that a receiver knows a repeat."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    channel = models.ForeignKey(NotificationChannel, on_delete=models.CASCADE, related_name="deliveries")
    payload = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            # What is due.
            models.Index(fields=["next_attempt_at"], condition=Q(state="waiting"), name="delivery_due"),
            # A channel's messages of the last hour, and the sweep of old ones.
            models.Index(fields=["channel", "created_at"], name="delivery_channel_age"),
        ]

    def __str__(self) -> str:
        return self.message_id

    @property
    def message_id(self) -> str:
        return f"msg_{self.uid.hex}"

    @property
    def title(self) -> str:
        return str(self.payload["data"]["title"])


class Notice(models.Model):
    """One thing to tell over one channel, written in the transaction in which it happened. Without a ``delivery`` it
    waits to become part of a message."""

    channel = models.ForeignKey(NotificationChannel, on_delete=models.CASCADE, related_name="notices")
    group = models.ForeignKey(FailureGroup, on_delete=models.CASCADE, related_name="notices")
    occasion = models.CharField(max_length=10, choices=Occasion)
    at = models.DateTimeField(auto_now_add=True)
    held = models.CharField(max_length=12, choices=Held, blank=True, default=Held.NOTHING)
    delivery = models.ForeignKey(NotificationDelivery, null=True, on_delete=models.CASCADE, related_name="notices")

    class Meta:
        constraints = [
            # What waits to be told is told once. Also the search for what waits.
            models.UniqueConstraint(
                fields=["channel", "group", "occasion"], condition=Q(delivery=None), name="notice_waits_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.occasion} {self.group}"
