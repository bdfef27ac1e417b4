"""Opening or closing one breaker of a pool by hand."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from controlplane.actors import actor_of
from pools.forms.verbs import ReasonForm
from pools.operations import breaker_close, breaker_open
from pools.permissions import CONTROL
from pools.selectors.config import running_spec
from pools.selectors.gates import gates_of
from pools.selectors.pools import pool_of
from pools.selectors.rights import pool_rights
from pools.views._acting import ask

COMMANDS: dict[str, Callable[..., Any]] = {"open": breaker_open, "close": breaker_close}


@require_http_methods(["GET", "HEAD", "POST"])
def breaker(request: HttpRequest, slug: str, name: str, verb: str) -> HttpResponse:
    """By signed run state, as a pause: workers obey at their next claim."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    line = next((line for line in gates_of(pool, running_spec(pool)).breakers if line.rule.name == name), None)
    if line is None:
        raise Http404
    form = ReasonForm(request.POST or None)
    right = pool_rights(actor, pool, CONTROL)[CONTROL]
    button = f"Hold {name} open" if verb == "open" else f"Close {name}"
    page = {"pool": pool, "line": line, "verb": verb, "button": button, "form": form, "right": right}
    return ask(
        request,
        form,
        "pools/breaker.html",
        page,
        lambda data: COMMANDS[verb](actor=actor, pool=pool, breaker=name, **data),
        done=lambda made: f"{made.said}: workers of {slug} obey at their next claim.",
        to=lambda made: reverse("pool", args=[slug]),
    )
