"""The first page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.selectors.overview import overview as overview_of
from pools.selectors.rights import global_rights

ADD_POOL = "pools.add_pool"


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """What needs a person now, then every pool. ``?show=critical`` narrows the table, never the attention list."""
    actor = actor_of(request)
    seen = overview_of(actor)
    show = "critical" if request.GET.get("show") == "critical" else "all"
    context = {"seen": seen, "show": show, "rows": seen.shown(show)}
    if not seen.rows:
        context["may_add"] = global_rights(actor, ADD_POOL)[ADD_POOL]
    return render(request, "overview/overview.html", context)
