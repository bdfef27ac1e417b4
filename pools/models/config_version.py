"""Config versions: immutable, numbered for each pool without gaps. Only the state moves, along ``TRANSITIONS``."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from pools.models.pool import Pool


class ConfigState(models.TextChoices):
    PROPOSED = "proposed", "Awaits a second person"
    APPROVED = "approved", "Being signed"
    PUBLISHED = "published", "Published"
    SUPERSEDED = "superseded", "Superseded"
    REJECTED = "rejected", "Rejected"


# From each state to those that may follow. Nothing proposes yet: approval by a second person has its place here.
TRANSITIONS: dict[ConfigState, set[ConfigState]] = {
    ConfigState.PROPOSED: {ConfigState.APPROVED, ConfigState.REJECTED},
    ConfigState.APPROVED: {ConfigState.PUBLISHED, ConfigState.SUPERSEDED},
    ConfigState.PUBLISHED: {ConfigState.SUPERSEDED},
    ConfigState.SUPERSEDED: set(),
    ConfigState.REJECTED: set(),
}


class ConfigVersion(models.Model):
    """``spec`` holds the canonical bytes; ``envelope``, ``payload_sha256`` and ``expires`` come with the signature.

    A migration's triggers refuse a change of the authored columns and any deletion, also in plain SQL.
    """

    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="config_versions")
    number = models.PositiveIntegerField()
    change_id = models.UUIDField(default=uuid.uuid4, unique=True)
    spec = models.BinaryField()
    secrets = models.JSONField(default=dict)  # name -> reference, as they stood when this version was made
    message = models.CharField(max_length=2000)
    restored_from = models.PositiveIntegerField(null=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    author_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    state = models.CharField(max_length=10, choices=ConfigState, default=ConfigState.APPROVED)
    envelope = models.BinaryField(null=True)
    payload_sha256 = models.CharField(max_length=64, blank=True)
    signed_at = models.DateTimeField(null=True)
    expires = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["pool", "number"], name="config_version_number")]

    def __str__(self) -> str:
        return f"{self.pool.slug} v{self.number}"

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise TypeError("config versions are kept for ever")
