"""The log's tables. Nothing outside ``audit`` imports them.

An event is *pending* from its action's commit until the sequencer gives it a leaf; then it is *integrated*. Events and
leaves never change: triggers (``audit.immutability``) refuse it, and no foreign key reaches out of these tables.
"""

import uuid

from django.db import models


class Outcome(models.TextChoices):
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    DENIED = "denied"


class Event(models.Model):
    """One thing that happened. ``leaf`` is the evidence; the other columns repeat it so that it can be searched."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    leaf = models.BinaryField()
    schema_version = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    actor_kind = models.TextField()
    actor_id = models.TextField()
    actor_name = models.TextField()
    action = models.TextField()
    target_kind = models.TextField()
    target_id = models.TextField()
    target_name = models.TextField()
    pool = models.TextField(blank=True)
    outcome = models.TextField(choices=Outcome)
    reason = models.TextField(blank=True)
    request_id = models.TextField(blank=True)
    address = models.TextField(blank=True)
    session = models.TextField(blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    detail = models.JSONField(default=dict)

    class Meta:
        # A right of its own: reading the log is all that anyone may do with it.
        default_permissions = ("view",)
        indexes = [
            # The timeline's filters, newest first.
            models.Index(fields=["actor_name", "-id"], name="audit_event_actor"),
            models.Index(fields=["action", "-id"], name="audit_event_action"),
            models.Index(fields=["target_name", "-id"], name="audit_event_target"),
            models.Index(fields=["pool", "-id"], name="audit_event_pool", condition=~models.Q(pool="")),
            models.Index(fields=["at"], name="audit_event_at"),
            # The event page's "same request".
            models.Index(fields=["request_id"], name="audit_event_request", condition=~models.Q(request_id="")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.uid}"


class Pending(models.Model):
    """An event that waits for its leaf: inserted in the event's transaction, removed only by the sequencer.

    Following this table instead of ``id > last_seen`` is what makes the log complete: ids are drawn before commit, so a
    follower by id skips every transaction that commits late.
    """

    event = models.OneToOneField(Event, on_delete=models.PROTECT, primary_key=True, related_name="pending")

    class Meta:
        default_permissions = ()


class Leaf(models.Model):
    """An event's place in the log: a gapless index from 0, and the hash of the event's bytes."""

    index = models.PositiveBigIntegerField(primary_key=True)
    event = models.OneToOneField(Event, on_delete=models.PROTECT, related_name="placed")
    hash = models.BinaryField(max_length=32)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"leaf {self.index}"
