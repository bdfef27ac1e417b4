"""The few figures that every page shows in its frame, in a fixed number of queries."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q

from audit.actor import Actor
from pools.models import Agent, BrokerState, Operation, OperationState
from pools.permissions import visible_pools

DEAD_LETTERS = "now__dead_letters"


@dataclass(frozen=True)
class Navigation:
    pools: int
    slugs: list[str]
    dead_letters: int
    operations_running: int
    agents: int
    agents_gone: int
    sampled_at: datetime | None
    roles: list[str]


def navigation(actor: Actor) -> Navigation:
    """Counts over what the actor may see."""
    pools = {pk: (slug, dead or 0) for pk, slug, dead in visible_pools(actor).values_list("pk", "slug", DEAD_LETTERS)}
    agents = Agent.objects.filter(pools__pool__in=pools).aggregate(
        all=Count("pk", distinct=True), gone=Count("pk", distinct=True, filter=Q(gone_at__isnull=False))
    )
    return Navigation(
        pools=len(pools),
        slugs=sorted(slug for slug, _ in pools.values()),
        dead_letters=sum(dead for _, dead in pools.values()),
        operations_running=Operation.objects.filter(pools__in=pools, state=OperationState.RUNNING).distinct().count(),
        agents=agents["all"],
        agents_gone=agents["gone"],
        sampled_at=BrokerState.objects.aggregate(at=Max("sampled_at"))["at"],
        roles=sorted(name.split(":")[-1] for name in actor.user.groups.values_list("name", flat=True)),
    )
