"""Secret references: names and where their values live. The console never holds a value."""

from django.db import models

from pools.models.pool import Team


class SecretReference(models.Model):
    name = models.SlugField(max_length=100, unique=True)
    uri = models.CharField(max_length=500)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    revision = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
