"""Saved views of the inbox: save the filter in the address, rename, remove, choose what to begin with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.saved_views import DefaultForm, NameForm, RemoveForm, SaveForm
from pools.operations import view_remove, view_rename, view_save, view_set_default
from pools.selectors.dead_letters import DeadLetterFilter, FilterError
from pools.selectors.inbox import owner_counts
from pools.selectors.saved_views import saved_views, sharing_teams
from pools.views._acting import act
from pools.views.filtering import address

TEMPLATE = "dead_letters/saved_views.html"
BUILT_IN = (
    ("All", DeadLetterFilter()),
    ("Last 24 h", DeadLetterFilter(since="24h")),
    ("Mine", DeadLetterFilter(owner="me")),
    ("Nobody's", DeadLetterFilter(owner="none")),
)


@dataclass(frozen=True)
class Tab:
    """A view above the inbox; ``count``: its failure groups, where they are counted."""

    name: str
    url: str
    current: bool
    count: int | None


@require_http_methods(["GET", "HEAD", "POST"])
def views(request: HttpRequest) -> HttpResponse:
    """All that the visitor sees; with a filter in the address, the form that saves it."""
    actor = actor_of(request)
    query = request.POST.get("query", "") if request.method == "POST" else request.GET.urlencode()
    form = SaveForm(request.POST if request.method == "POST" else None, teams=sharing_teams(actor))
    page = partial(render, request, TEMPLATE, _context(actor, form, query))
    if request.method != "POST":
        return page()
    return act(
        request,
        form,
        lambda data: view_save(actor=actor, name=data["name"], wanted=data["query"], team=data["team"]),
        done=lambda view: f"The view {view} is saved.",
        to=lambda view: f"{reverse('dead-letters')}?{view.query}",
        otherwise=page,
    )


@require_POST
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    form = NameForm(request.POST)
    return _change(
        request, form, lambda data: view_rename(actor=actor_of(request), pk=pk, **data), "The view is renamed."
    )


@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    form = RemoveForm(request.POST)
    return _change(request, form, lambda data: view_remove(actor=actor_of(request), pk=pk), "The view is deleted.")


@require_POST
def set_default(request: HttpRequest, pk: int) -> HttpResponse:
    form = DefaultForm(request.POST)
    return _change(
        request,
        form,
        lambda data: view_set_default(actor=actor_of(request), pk=pk, **data),
        "Your inbox begins with this view." if request.POST.get("default") else "Your inbox begins with all of them.",
    )


def tabs(actor: Actor, wanted: DeadLetterFilter, show: str) -> list[Tab]:
    """The views above the inbox: those that everybody has, then the saved ones."""
    owned = owner_counts(actor)
    views = [(name, view, owned.get(view.owner)) for name, view in BUILT_IN]
    views += [(each.row.name, each.wanted, None) for each in saved_views(actor) if each.wanted]
    return [Tab(name, address(view, show), view == wanted, count) for name, view, count in views]


def _change(request: HttpRequest, form: Form, run: Callable[[dict[str, Any]], object], said: str) -> HttpResponse:
    actor = actor_of(request)
    save = SaveForm(teams=sharing_teams(actor))

    def page(*, status: int) -> HttpResponse:
        context = _context(actor, save, "") | {"failed": form}
        return render(request, TEMPLATE, context, status=status)

    return act(request, form, run, done=lambda view: said, to=lambda view: reverse("saved-views"), otherwise=page)


def _context(actor: Actor, form: SaveForm, query: str) -> dict[str, Any]:
    wanted, problem = DeadLetterFilter(), ""
    try:
        wanted = DeadLetterFilter.from_query(dict(parse_qsl(query.removeprefix("?"))))
    except FilterError as error:
        problem = str(error)
    return {
        "form": form,
        "failed": None if wanted.as_query() else form,
        "query": query,
        "line": wanted.as_line(),
        "problem": problem,
        "views": [(view, address(view.wanted) if view.wanted else "") for view in saved_views(actor)],
    }
