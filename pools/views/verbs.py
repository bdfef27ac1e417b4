"""Pause, resume, drain, scale: each with its own page, which is also the dialog on the pool's page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from controlplane.actors import actor_of
from pools.forms.verbs import ReasonForm, ScaleForm
from pools.models import Pool, RunState
from pools.operations import pool_drain, pool_pause, pool_resume, pool_scale
from pools.permissions import CONTROL, SCALE
from pools.selectors.config import newest_spec
from pools.selectors.fleet import Presence
from pools.selectors.phrases import jobs
from pools.selectors.pool_page import row_of
from pools.selectors.pools import pool_of
from pools.selectors.rights import Right, pool_rights
from pools.views._acting import act


@dataclass(frozen=True)
class Verb:
    """One thing to do to a pool. ``says``: what it will touch, in a sentence, with the figures of this moment."""

    key: str
    button: str
    icon: str
    permission: str
    says: str
    version: int
    url: str
    right: Right
    workers: int | None = None


COMMANDS: dict[str, Callable[..., Any]] = {"pause": pool_pause, "resume": pool_resume, "drain": pool_drain}
DOING = {"pause": "pausing", "resume": "resuming", "drain": "draining", "scale": "scaling"}


@require_http_methods(["GET", "HEAD", "POST"])
def command(request: HttpRequest, slug: str, verb: str) -> HttpResponse:
    """Pause, resume or drain, by signed run state: agents apply it within two seconds."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    shown = verbs_of(pool, row_of(pool).presence, pool_rights(actor, pool, CONTROL, SCALE))[verb]
    form = ReasonForm(request.POST or None)
    page = {"pool": pool, "verb": shown, "form": form}
    if request.method != "POST":
        return render(request, "pools/verb.html", page)
    return act(
        request,
        form,
        lambda data: COMMANDS[verb](actor=actor, pool=pool, **data),
        done=lambda made: f"{DOING[verb].capitalize()} {slug}. This page shows which agents have applied it.",
        to=lambda made: reverse("pool", args=[slug]),
        otherwise=lambda status: render(request, "pools/verb.html", page, status=status),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def scale(request: HttpRequest, slug: str) -> HttpResponse:
    """Another number of workers an agent: a config version that differs in nothing else."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    shown = verbs_of(pool, row_of(pool).presence, pool_rights(actor, pool, CONTROL, SCALE))["scale"]
    form = ScaleForm(request.POST or None, initial={"workers": shown.workers})
    page = {"pool": pool, "verb": shown, "form": form}
    if request.method != "POST":
        return render(request, "pools/verb.html", page)
    return act(
        request,
        form,
        lambda data: pool_scale(actor=actor, pool=pool, **data),
        done=lambda made: f"v{made.number} of {slug} asks for {form.cleaned_data['workers']} workers an agent.",
        to=lambda made: reverse("pool", args=[slug]),
        otherwise=lambda status: render(request, "pools/verb.html", page, status=status),
    )


def verbs_of(pool: Pool, presence: Presence, rights: dict[str, Right]) -> dict[str, Verb]:
    """All four verbs with what they would touch now."""
    busy = presence.now.busy if presence.now else 0
    workers, agents = presence.workers, len(presence.live)
    staff = f"{_counted(workers, 'worker')} on {_counted(agents, 'agent')}"
    spec = newest_spec(pool)
    asks = spec.workers if spec else 0

    def run_verb(key: str, button: str, icon: str, says: str) -> Verb:
        url = reverse(f"pool-{key}", args=[pool.slug])
        return Verb(key, button, icon, CONTROL, says, pool.generation, url, rights[CONTROL])

    return {
        "pause": run_verb(
            "pause",
            f"Pause {pool.slug}",
            "player-pause",
            f"{staff} take no new job; {jobs(busy)} running now go on to their end. "
            f"{jobs(presence.waiting)} stay in the queues until somebody resumes the pool.",
        ),
        "resume": run_verb(
            "resume",
            f"Resume {pool.slug}",
            "player-play",
            f"Workers take jobs again: {jobs(presence.waiting)} waiting now.",
        ),
        "drain": run_verb(
            "drain",
            f"Drain {_counted(workers, 'worker')}",
            "droplet-half",
            f"{jobs(busy)} running now go on to their end, then {staff} leave. "
            f"{jobs(presence.waiting)} stay in the queues; resuming starts the workers again.",
        ),
        "scale": Verb(
            key="scale",
            button=f"Scale {pool.slug}",
            icon="adjustments",
            permission=SCALE,
            says=f"Each of {_counted(agents, 'agent')} keeps {_counted(asks, 'worker')} running now. "
            f"The new number is v{pool.config_number + 1} of the config, which differs in nothing else.",
            version=pool.config_number,
            url=reverse("pool-scale", args=[pool.slug]),
            right=rights[SCALE],
            workers=asks,
        ),
    }


def offered(pool: Pool, verbs: dict[str, Verb]) -> list[Verb]:
    """The verbs that make sense in the pool's run state; none for a pool that no agent drives."""
    if not pool.is_managed:
        return []
    keys = {
        RunState.RUNNING: ("pause", "drain", "scale"),
        RunState.PAUSED: ("resume", "drain", "scale"),
        RunState.DRAINING: ("resume", "pause", "scale"),
    }[RunState(pool.run_state)]
    return [verbs[key] for key in keys]


def lacking(verbs: list[Verb]) -> list[tuple[Right, str]]:
    """Each right that is missing, with the buttons it would open."""
    missing: dict[Right, list[str]] = {}
    for verb in verbs:
        if not verb.right.allowed:
            missing.setdefault(verb.right, []).append(DOING[verb.key])
    return [(right, " or ".join(doing).capitalize()) for right, doing in missing.items()]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
