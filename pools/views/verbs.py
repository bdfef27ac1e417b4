"""Pause, resume, drain, scale: each with its own page, which is also the dialog on the pool's page."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.verbs import ReasonForm, ScaleForm
from pools.models import Pool
from pools.operations import pool_drain, pool_pause, pool_resume, pool_scale
from pools.permissions import CONTROL, SCALE
from pools.selectors.pool_page import row_of
from pools.selectors.pools import pool_of
from pools.selectors.rights import pool_rights
from pools.selectors.verbs import DOING, Verb, verbs_of
from pools.views._acting import ask

COMMANDS: dict[str, Callable[..., Any]] = {"pause": pool_pause, "resume": pool_resume, "drain": pool_drain}


@require_http_methods(["GET", "HEAD", "POST"])
def command(request: HttpRequest, slug: str, verb: str) -> HttpResponse:
    """Pause, resume or drain, by signed run state: agents apply it within two seconds."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    form = ReasonForm(request.POST or None)
    page = {"pool": pool, "verb": _verb(actor, pool, verb), "form": form}
    return ask(
        request,
        form,
        "pools/verb.html",
        page,
        lambda data: COMMANDS[verb](actor=actor, pool=pool, **data),
        done=lambda made: f"{DOING[verb].capitalize()} {slug}. This page shows which agents have applied it.",
        to=lambda made: reverse("pool", args=[slug]),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def scale(request: HttpRequest, slug: str) -> HttpResponse:
    """Another number of workers an agent: a config version that differs in nothing else."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    verb = _verb(actor, pool, "scale")
    form = ScaleForm(request.POST or None, initial={"workers": verb.workers})
    page = {"pool": pool, "verb": verb, "form": form}
    return ask(
        request,
        form,
        "pools/verb.html",
        page,
        lambda data: pool_scale(actor=actor, pool=pool, **data),
        done=lambda made: f"v{made.number} of {slug} asks for {form.cleaned_data['workers']} workers an agent.",
        to=lambda made: reverse("pool", args=[slug]),
    )


def _verb(actor: Actor, pool: Pool, key: str) -> Verb:
    return verbs_of(row_of(pool).presence, pool_rights(actor, pool, CONTROL, SCALE))[key]
