"""Saved views of the inbox of dead letters, and which of them a person begins with."""

from django.conf import settings
from django.db import models

from controlplane.saved_queries import SavedQuery
from pools.models.pool import Team


class SavedView(SavedQuery):
    """A filter under a name, as ``DeadLetterFilter.as_query`` writes it. With a ``team``, its people see it as well."""

    owner_name = models.CharField(max_length=200)
    team = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["name", "pk"]
        constraints = [models.UniqueConstraint(fields=["owner_id", "name"], name="saved_view_name")]


class DefaultView(models.Model):
    """What the inbox shows a person who asks for nothing in particular."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+")
    view = models.ForeignKey(SavedView, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return str(self.view_id)
