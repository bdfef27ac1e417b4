"""Payloads that are open: to one person, for a while. What a payload holds is never stored here."""

from django.conf import settings
from django.db import models


class PayloadReveal(models.Model):
    """Until ``expires_at`` the user sees the payload of this job."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    broker = models.CharField(max_length=50, default="default")
    job_id = models.CharField(max_length=500)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "broker", "job_id"], name="payload_reveal_once")]

    def __str__(self) -> str:
        return self.job_id
