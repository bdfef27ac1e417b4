"""The list of pools, one pool, and what describes it."""

from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.pools import PoolEditForm, PoolFilterForm, PoolForm
from pools.forms.spec import ADDING
from pools.models import DeadLetterState, Pool
from pools.operations import pool_change, pool_create
from pools.permissions import CONFIG, CONTROL, SCALE, visible_pools
from pools.selectors.config import running_spec, version_lines
from pools.selectors.cron import cron_of
from pools.selectors.dead_letters import DeadLetterFilter
from pools.selectors.gates import gates_of
from pools.selectors.overview import pool_rows
from pools.selectors.pool_page import SPANS, charts, commands_of, hosts_of, queues_of, row_of, workers_of
from pools.selectors.pools import matching, pool_of, teams_of
from pools.selectors.rights import global_rights, pool_rights
from pools.selectors.shelf import quarantined_in
from pools.selectors.verbs import lacking, offered, verbs_of
from pools.views._acting import act, ask
from pools.views.filtering import address

ADD_POOL = "pools.add_pool"


@require_safe
def pools(request: HttpRequest) -> HttpResponse:
    """All pools that the visitor may see, narrowed by ``q``, ``team`` and ``show``."""
    actor = actor_of(request)
    everything = visible_pools(actor)
    form = PoolFilterForm(request.GET, teams=teams_of(actor))
    wanted = form.wanted()
    rows = pool_rows(actor, matching(everything, q=wanted["q"], team=wanted["team"]))
    context = {
        "rows": [row for row in rows if wanted["show"] != "trouble" or row.rank[0] < 2],
        "filter": form,
        "show": wanted["show"],
        "filtered": any(wanted.values()),
        "total": everything.count(),
        "matching": len(rows),
        "in_trouble": sum(row.rank[0] < 2 for row in rows),
        "may_add": global_rights(actor, ADD_POOL)[ADD_POOL],
    }
    return render(request, "pools/pools.html", context)


@require_safe
def pool(request: HttpRequest, slug: str) -> HttpResponse:
    """One pool: figures, history, workers, what they were told and what they attest."""
    actor = actor_of(request)
    found = pool_of(actor, slug)
    span = request.GET.get("span", "1h")
    return render(request, "pools/pool.html", pool_context(actor, found, request, span if span in SPANS else "1h"))


def pool_context(actor: Actor, found: Pool, request: HttpRequest, span: str) -> dict[str, Any]:
    row, spec = row_of(found), running_spec(found)
    rights = pool_rights(actor, found, CONTROL, SCALE, CONFIG)
    queues, queue_count = queues_of(found)
    verbs = offered(found, verbs_of(row.presence, rights))
    page = request.GET.get("page", "1")
    number = int(page) if page.isdecimal() and len(page) < 7 else 1
    return {
        "pool": found,
        "row": row,
        "verbs": verbs,
        "missing": lacking(verbs),
        "may_config": rights[CONFIG],
        "hosts": hosts_of(row.presence),
        "span": span,
        "spans": [(key, label) for key, (_, _, label) in SPANS.items()],
        "charts": charts(found, span),
        "workers": workers_of(found, request.GET.get("workers", "all"), number),
        "versions": version_lines(row.presence),
        "commands": commands_of(found),
        "queues": [
            (queue, address(DeadLetterFilter(pool=found.slug).narrowed("queue", queue.name))) for queue in queues
        ],
        "queue_count": queue_count,
        "quarantined": quarantined_in(found),
        "to_quarantine": address(DeadLetterFilter(pool=found.slug, state=DeadLetterState.QUARANTINED)),
        "spec": spec,
        "cron": cron_of(found, spec),
        "gates": gates_of(found, spec),
        "may_control": rights[CONTROL],
    }


@require_http_methods(["GET", "HEAD", "POST"])
def pool_new(request: HttpRequest) -> HttpResponse:
    """Make a pool with its first config. The operation decides who may."""
    actor = actor_of(request)
    do = request.POST.get("do", "")
    form = PoolForm(request.POST or None, teams=teams_of(actor), do=do)
    page = {"form": form, "right": global_rights(actor, ADD_POOL)[ADD_POOL]}
    show = partial(render, request, "pools/new.html", page)
    if request.method != "POST" or do in ADDING:
        return show()
    return act(
        request,
        form,
        lambda data: pool_create(
            actor=actor, environment=settings.POOLWARDEN_ENV, spec=form.chosen, **form.described()
        ),
        done=lambda made: f"{made.slug} is made. Agents that match its placement start its workers within seconds.",
        to=lambda made: reverse("pool", args=[made.slug]),
        otherwise=show,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def pool_edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Change what describes a pool; what it runs is its config."""
    actor = actor_of(request)
    found = pool_of(actor, slug)
    form = PoolEditForm(request.POST or None, initial=PoolEditForm.initial_of(found))
    page = {"pool": found, "form": form, "right": pool_rights(actor, found, CONFIG)[CONFIG]}
    return ask(
        request,
        form,
        "pools/edit.html",
        page,
        lambda data: pool_change(actor=actor, pool=found, **data),
        done=lambda made: f"{slug} is changed.",
        to=lambda made: reverse("pool", args=[slug]),
    )
