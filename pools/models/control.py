"""The control plane's own bookkeeping: outbox, leader lease, what was last heard of a broker, idempotency keys."""

from django.conf import settings
from django.db import models


class OutboxMessage(models.Model):
    """A message that must reach the broker: written with the change it speaks of, delivered at least once."""

    broker = models.CharField(max_length=50, default="default")
    kind = models.CharField(max_length=30)  # config, run, operation
    key = models.CharField(max_length=100)  # what it is about; the receiver treats a repeat as a no-op
    created_at = models.DateTimeField(auto_now_add=True)
    published_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["id"]
        indexes = [
            # The relay's claim.
            models.Index(fields=["id"], condition=models.Q(published_at=None), name="outbox_waiting")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class ControllerLease(models.Model):
    """One row. Its holder is the leader until ``expires_at``."""

    holder = models.CharField(max_length=200, blank=True)
    expires_at = models.DateTimeField()
    acquired_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.holder


class BrokerState(models.Model):
    """What the controller last knew of a broker, and how far it has read its event stream."""

    alias = models.CharField(max_length=50, unique=True)
    region = models.CharField(max_length=50, blank=True)
    reachable = models.BooleanField(default=False)
    error = models.CharField(max_length=500, blank=True)
    sampled_at = models.DateTimeField(null=True)
    last_event_id = models.CharField(max_length=40, blank=True)
    scanned_at = models.DateTimeField(null=True)
    round_trips = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return self.alias


class IdempotencyKey(models.Model):
    """The first answer to an API write, given again when the same request returns with the same key. Kept for a day."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key")]

    def __str__(self) -> str:
        return self.key
