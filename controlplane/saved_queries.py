"""Queries of a list under names: what the log's timeline and the inbox of dead letters keep for people."""

from django.db import models

SAVED_EACH = 100


class TooMany(ValueError):
    """The person has ``SAVED_EACH`` already."""


class SavedQuery(models.Model):
    """What stands after the question mark of a list's address, for the person who saved it."""

    owner_id = models.TextField()
    name = models.CharField(max_length=80)
    query = models.TextField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


def keep[Q: SavedQuery](model: type[Q], owner_id: str, name: str, **values: object) -> Q:
    """Save it under a name of the person's own; the same name again replaces it. Raises ``TooMany``."""
    rows = model._default_manager.filter(owner_id=owner_id)
    if rows.exclude(name=name).count() >= SAVED_EACH:
        raise TooMany
    return rows.update_or_create(owner_id=owner_id, name=name, defaults=values)[0]
