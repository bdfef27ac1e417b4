"""How far the dead letters are behind the failed registries, which are the truth."""

from datetime import datetime, timedelta

from django.utils import timezone

from audit.actor import Actor
from pools.models import BrokerState
from pools.permissions import visible_pools

LATE = timedelta(minutes=1)
"""A comparison begins every two seconds, and takes seconds when ten thousands have failed at once."""


def indexed_at(actor: Actor) -> datetime | None:
    """When all failed jobs of the actor's brokers were last known to be dead letters; None: not yet, or no pool."""
    brokers = visible_pools(actor).order_by().values("broker")
    times = list(BrokerState.objects.filter(alias__in=brokers).values_list("scanned_at", flat=True))
    return None if None in times else min(filter(None, times), default=None)


def is_late(at: datetime | None) -> bool:
    return at is None or timezone.now() - at > LATE
