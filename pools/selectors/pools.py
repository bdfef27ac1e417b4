"""One pool, and lists of pools, as an actor may see them."""

from django.db.models import Q, QuerySet
from django.http import Http404

from audit.actor import Actor
from pools.models import Criticality, Pool, Team
from pools.permissions import can_globally, visible_pools


def pool_of(actor: Actor, slug: str) -> Pool:
    """The pool. Raises Http404 when it does not exist or the actor may not see it: the two cannot be told apart."""
    pool = visible_pools(actor).select_related("team", "now").filter(slug=slug).first()
    if pool is None:
        raise Http404("no such pool")
    return pool


def teams_of(actor: Actor) -> QuerySet[Team]:
    """The teams in which the actor holds a role; all of them for whoever manages roles."""
    if can_globally(actor, "auth.change_group"):
        return Team.objects.order_by("name")
    held = actor.user.groups.values_list("name", flat=True) if actor.user else []
    return Team.objects.filter(slug__in={name.split(":")[0] for name in held}).order_by("name")


def matching(pools: QuerySet[Pool], *, q: str = "", team: str = "") -> QuerySet[Pool]:
    """Pools by text (name, slug, description, a queue's name) and team."""
    if q:
        text = Q(slug__icontains=q) | Q(name__icontains=q) | Q(description__icontains=q)
        pools = pools.filter(text | Q(queue_states__name__icontains=q)).distinct()
    return pools.filter(team__slug=team) if team else pools


def is_critical(pool: Pool) -> bool:
    return pool.criticality == Criticality.CRITICAL
