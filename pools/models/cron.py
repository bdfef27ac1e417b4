"""What became of cron slots, as agents reported it."""

from django.db import models

from pools.models.pool import Pool


class SlotOutcome(models.TextChoices):
    """What the agents did about a slot."""

    ENQUEUED = "enqueued", "Enqueued"
    SKIPPED = "skipped", "Skipped"
    MISSED = "missed", "Missed"


class SlotEnd(models.TextChoices):
    """How far the slot's job came. ``UNKNOWN``: it vanished, or was cancelled, before anybody saw its end."""

    WAITING = "", "Waits"
    RUNNING = "running", "Runs"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "End unknown"


class CronSlot(models.Model):
    """One slot of a cron entry. ``missed`` stands for the slots before it, too, which were missed with it."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="cron_slots")
    name = models.CharField(max_length=63)
    slot_at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=SlotOutcome)
    end = models.CharField(max_length=10, choices=SlotEnd, blank=True)
    job_id = models.CharField(max_length=200, blank=True)
    queue = models.CharField(max_length=255, blank=True)
    agent = models.CharField(max_length=100, blank=True)
    config_number = models.PositiveIntegerField(null=True)
    reported_at = models.DateTimeField()

    class Meta:
        ordering = ["-slot_at"]
        constraints = [
            # Also how a page finds an entry's newest slot.
            models.UniqueConstraint(fields=["pool", "name", "slot_at"], name="cron_slot")
        ]
        indexes = [
            # Whose end is still to come.
            models.Index(
                fields=["id"], condition=models.Q(outcome="enqueued", end__in=["", "running"]), name="cron_slot_open"
            ),
            # The sweep by age.
            models.Index(fields=["reported_at"], name="cron_slot_age"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.slot_at:%Y-%m-%dT%H:%MZ}"
