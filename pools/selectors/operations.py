"""Operations that an actor may see: those all of whose pools are visible."""

from django.db.models import QuerySet

from audit.actor import Actor
from pools.models import Operation, Pool
from pools.permissions import visible_pools


def visible_operations(actor: Actor) -> QuerySet[Operation]:
    """Newest first."""
    hidden = Pool.objects.exclude(pk__in=visible_pools(actor).values("pk"))
    return Operation.objects.exclude(pools__in=hidden).prefetch_related("pools")


def find_operation(actor: Actor, pk: int) -> Operation:
    """Raises ``Operation.DoesNotExist`` also for one that touches a pool which the actor may not see."""
    return visible_operations(actor).get(pk=pk)
