"""The agents."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.selectors.agents import agents as agents_of


@require_safe
def agents(request: HttpRequest) -> HttpResponse:
    """Every agent with what it was told, verified and runs; ``?show=trouble`` or ``gone`` narrows."""
    rows = agents_of(actor_of(request))
    show = request.GET.get("show", "")
    chosen = {"trouble": [row for row in rows if row.is_in_trouble], "gone": [row for row in rows if row.is_gone]}
    context = {
        "rows": chosen.get(show, rows),
        "show": show if show in chosen else "all",
        "counts": {"all": len(rows)} | {name: len(found) for name, found in chosen.items()},
    }
    return render(request, "agents/agents.html", context)
