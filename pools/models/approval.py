"""A second person's word on an operation that is larger than a pool lets one person decide about."""

from django.conf import settings
from django.db import models

from pools.models.operation import Operation


class Decision(models.TextChoices):
    """Empty: it waits."""

    APPROVED = "approved", "Approved"
    DECLINED = "declined", "Declined"
    WITHDRAWN = "withdrawn", "Withdrawn"
    LAPSED = "lapsed", "Lapsed"


class Approval(models.Model):
    """``needed`` says why, for each pool: {"pool", "jobs", "lately", "limit"}. ``lately`` are jobs of the same person's
    other operations. Nobody decided a lapsed one."""

    operation = models.OneToOneField(Operation, on_delete=models.CASCADE, related_name="approval")
    needed = models.JSONField()
    lapses_at = models.DateTimeField()
    decision = models.CharField(max_length=10, choices=Decision, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    actor_name = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=2000, blank=True)
    decided_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            # The controller's search for those that nobody decided in time.
            models.Index(fields=["lapses_at"], condition=models.Q(decision=""), name="approval_waiting"),
        ]

    def __str__(self) -> str:
        return f"approval of {self.operation_id}"

    @property
    def pool_slugs(self) -> list[str]:
        """The pools whose limit is crossed, by name."""
        return [need["pool"] for need in self.needed]
