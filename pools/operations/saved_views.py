"""Saved views of the inbox: a filter under a name, the actor's own or shared with a team."""

from urllib.parse import parse_qsl, urlencode

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from audit.target import Target
from controlplane.saved_queries import SAVED_EACH, TooMany, keep
from pools.arguments import UNSAID
from pools.models import DefaultView, SavedView, Team
from pools.operations.errors import Refused
from pools.permissions import REQUEUE, VIEW, Denied, visible_pools
from pools.selectors.dead_letters import DeadLetterFilter
from pools.selectors.saved_views import owner_id, sharing_teams, visible_views

NAME_LIMIT = 80


@operation("view.saved")
def view_save(*, actor: Actor, name: str, wanted: DeadLetterFilter, team: Team | None = None) -> SavedView:
    """Keep a filter under a name of the actor's own; the same name again replaces it. Raises ``Denied``,
    ``Refused``."""
    _require_person(actor)
    if team and not sharing_teams(actor).filter(pk=team.pk).exists():
        raise Denied(REQUEUE)
    query, name = urlencode(wanted.as_query()), _clean(name)
    if not query:
        raise Refused("query", "Narrow the list first, then save what it is narrowed to. Nothing was changed.")
    try:
        view = keep(SavedView, owner_id(actor), name, query=query, team=team, owner_name=actor.name)
    except TooMany as full:
        message = f"You have {SAVED_EACH} saved views: delete one first. Nothing was changed."
        raise Refused("name", message) from full
    shared = {"team": team.slug} if team else {}
    record(actor=actor, action="view.saved", target=_target(view), after={"query": _recorded(wanted), **shared})
    return view


@operation("view.renamed")
def view_rename(*, actor: Actor, pk: int, name: str) -> SavedView:
    """Raises ``Denied``, ``Refused``, ``SavedView.DoesNotExist``."""
    view, name = _own(actor, pk), _clean(name)
    if name == view.name:
        return view
    if SavedView.objects.filter(owner_id=owner_id(actor), name=name).exists():
        raise Refused("name", f"You have a view {name} already. Nothing was changed.")
    before, view.name = view.name, name
    view.save()
    record(actor=actor, action="view.renamed", target=_target(view), before={"name": before}, after={"name": name})
    return view


@operation("view.removed")
def view_remove(*, actor: Actor, pk: int) -> None:
    """Forget a view of the actor's own, for those as well with whom it was shared. Raises as above."""
    view = _own(actor, pk)
    record(actor=actor, action="view.removed", target=_target(view), before={"query": _recorded_again(view.query)})
    view.delete()


@operation("view.default_set")
def view_set_default(*, actor: Actor, pk: int, default: bool) -> SavedView:
    """Begin with a view that the actor sees, or no longer with it. Raises ``Denied``, ``SavedView.DoesNotExist``."""
    _require_person(actor)
    view = visible_views(actor).get(pk=pk)
    chosen = DefaultView.objects.filter(user=actor.user)
    if chosen.filter(view=view).exists() == default:
        return view
    if default:
        DefaultView.objects.update_or_create(user=actor.user, defaults={"view": view})
    else:
        chosen.delete()
    begins = "begins with" if default else "no longer begins with"
    record(actor=actor, action="view.default_set", target=_target(view), after={"begins": begins})
    return view


def _require_person(actor: Actor) -> None:
    """Views are kept for people who see a pool at all."""
    if actor.user is None or not visible_pools(actor).exists():
        raise Denied(VIEW)


def _own(actor: Actor, pk: int) -> SavedView:
    _require_person(actor)
    return SavedView.objects.select_for_update().get(pk=pk, owner_id=owner_id(actor))


def _clean(name: str) -> str:
    name = name.strip()
    if not name or len(name) > NAME_LIMIT or "\x00" in name:
        raise Refused("name", f"A name has 1 to {NAME_LIMIT} characters, none of them NUL. Nothing was changed.")
    return name


def _recorded(wanted: DeadLetterFilter) -> str:
    return urlencode(wanted.as_record())


def _recorded_again(query: str) -> str:
    """The same of a view's query, which may no longer be readable as a filter."""
    fields = dict(parse_qsl(query))
    return urlencode(fields | ({"args": UNSAID} if "args" in fields else {}))


def _target(view: SavedView) -> Target:
    return Target(kind="view", id=str(view.pk), name=view.name)
