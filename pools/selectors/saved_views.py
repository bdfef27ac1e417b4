"""Saved views of the inbox: a person's own, and those that were shared with a team of theirs."""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from django.db.models import Exists, Q, QuerySet

from audit.actor import Actor
from pools.models import DefaultView, SavedView, Team
from pools.permissions import REQUEUE, REVEAL, pools_with, visible_pools
from pools.selectors.dead_letters import DeadLetterFilter, FilterError

ASKS_ARGUMENTS = Q(query__startswith="args=") | Q(query__contains="&args=")


@dataclass(frozen=True)
class View:
    """``wanted`` is None for a filter that can no longer be read. ``mine``: may be renamed and removed."""

    row: SavedView
    wanted: DeadLetterFilter | None
    mine: bool
    is_default: bool


def owner_id(actor: Actor) -> str:
    """A token's views are those of its account; "" owns none."""
    return str(actor.user.pk) if actor.user else ""


def visible_views(actor: Actor) -> QuerySet[SavedView]:
    """Views of others that ask for arguments only for those who may reveal payloads somewhere."""
    shared = Q(team__in=visible_pools(actor).values("team")) & (~ASKS_ARGUMENTS | Exists(pools_with(actor, REVEAL)))
    return SavedView.objects.filter(Q(owner_id=owner_id(actor)) | shared).select_related("team")


def saved_views(actor: Actor) -> list[View]:
    """The actor's own first, then by name."""
    first = DefaultView.objects.filter(user=actor.user).values_list("view_id", flat=True).first()
    me = owner_id(actor)
    views = [View(row, _read(row), mine=row.owner_id == me, is_default=row.pk == first) for row in visible_views(actor)]
    return sorted(views, key=lambda view: not view.mine)


def default_view(actor: Actor) -> DeadLetterFilter | None:
    """What the actor begins with, if there is such a view that they still see and that can be read."""
    chosen = DefaultView.objects.filter(user=actor.user).values("view")
    row = visible_views(actor).filter(pk__in=chosen).first()
    return _read(row) if row else None


def sharing_teams(actor: Actor) -> QuerySet[Team]:
    """The teams with which the actor may share a view: those in whose pools they may act."""
    return Team.objects.filter(pk__in=pools_with(actor, REQUEUE).values("team")).order_by("name")


def _read(row: SavedView) -> DeadLetterFilter | None:
    try:
        return DeadLetterFilter.from_query(dict(parse_qsl(row.query)))
    except FilterError:
        return None
