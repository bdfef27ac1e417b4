"""The inbox of dead letters, by cause or one by one, and the page of a cause."""

from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.operations import RequeueForm, suggested
from pools.models import SHELVED, DeadLetterState, FailureGroup, OperationKind
from pools.permissions import DISCARD, REQUEUE, REVEAL, visible_pools
from pools.selectors.approvals import asked
from pools.selectors.dead_letters import (
    DeadLetterFilter,
    FilterError,
    dead_letter_page,
    find_group,
    group_counts,
    traceback_of,
)
from pools.selectors.dead_letters import (
    dead_letters as letters_of,
)
from pools.selectors.failure_group import claim, history, newest, where
from pools.selectors.group_life import badge, notes_of
from pools.selectors.group_verbs import FOR_SEVERAL, OFFERED
from pools.selectors.inbox import GROUPS_SHOWN, group_rows
from pools.selectors.index_lag import indexed_at, is_late
from pools.selectors.matrix import counts_by_age, matrix
from pools.selectors.rights import pool_rights
from pools.selectors.saved_views import default_view
from pools.selectors.search import FOUND_LIMIT
from pools.selectors.shelf import places, places_of
from pools.selectors.triage import narrowings, preview_of, right_anywhere
from pools.selectors.vanishing import vanishing
from pools.selectors.warnings import warnings
from pools.views.filtering import address, bar, narrower, to_its_address
from pools.views.groups import group_offers
from pools.views.handling import VERBS, button, offers
from pools.views.saved_views import tabs

JOBS_SHOWN = 20  # on a group's page


@require_safe
def dead_letters(request: HttpRequest) -> HttpResponse:
    """Groups, or with ``show=jobs`` single jobs. A filter that cannot be read shows nothing and says why.

    A bare address leads to the view that the visitor begins with.
    """
    actor = actor_of(request)
    if not request.GET and (first := default_view(actor)):
        return redirect(address(first))
    show = "jobs" if request.GET.get("show") == "jobs" else "groups"
    problem, status = None, 200
    try:
        if "filter" in request.GET:
            return to_its_address(request, show)
        wanted = DeadLetterFilter.from_query(request.GET.dict())
        context = listing(actor, wanted, show, request.GET.get("cursor", ""))
    except FilterError as error:
        wanted, context, problem, status = DeadLetterFilter(), {}, error, 400
    context |= bar(request, wanted, show, problem)
    context |= {"show": show, "wanted": wanted, "problem": problem, "found_limit": FOUND_LIMIT}
    context["shelved"] = wanted.state in SHELVED
    context["views"] = tabs(actor, wanted, show)
    return render(request, "dead_letters/dead_letters.html", context, status=status)


def listing(actor: Actor, wanted: DeadLetterFilter, show: str, cursor: str) -> dict[str, Any]:
    ages = counts_by_age(actor, wanted)
    counts = {pk: number for pk, (number, *_) in ages.items()}
    total = sum(counts.values())
    narrow = narrower(wanted, narrowings(wanted, counts), show)
    shown: dict[str, Any] = {
        "jobs": total,
        "groups": len(counts),
        "narrower": narrow,
        "matrix": matrix(wanted, ages),
    }
    shown["vanishing"] = vanishing(list(visible_pools(actor)))
    if show == "jobs":
        shown["page"] = dead_letter_page(actor, wanted, cursor)
    else:
        shown["rows"], shown["limit"] = group_rows(counts), GROUPS_SHOWN
    if not total and wanted != DeadLetterFilter():
        shown["unfiltered"] = sum(group_counts(actor, DeadLetterFilter()).values())
    shown["places"] = places(actor)
    shown["indexed_at"] = indexed_at(actor)
    shown["index_late"] = is_late(shown["indexed_at"])
    query = urlencode(wanted.as_query())
    rights = {verb: right_anywhere(actor, verb) for verb in (REQUEUE, DISCARD)}
    shown["offers"] = offers(rights, query, wanted.state)
    if wanted.state == DeadLetterState.OPEN and rights[REQUEUE].allowed:
        shown["decisions"] = group_offers(FOR_SEVERAL, query)
    return shown


@require_safe
def failure_group(request: HttpRequest, pk: int) -> HttpResponse:
    """One cause: when, where, why, its jobs, and what to do about them."""
    actor = actor_of(request)
    try:
        group = find_group(actor, pk)
        page = dead_letter_page(actor, DeadLetterFilter(group=str(pk)), request.GET.get("cursor", ""), JOBS_SHOWN)
    except FailureGroup.DoesNotExist as missing:
        raise Http404 from missing
    except FilterError:
        page = dead_letter_page(actor, DeadLetterFilter(group=str(pk)), size=JOBS_SHOWN)
    return render(request, "dead_letters/group.html", group_context(actor, group) | {"page": page})


def group_context(actor: Actor, group: FailureGroup) -> dict[str, Any]:
    wanted = DeadLetterFilter(group=str(group.pk))
    preview = preview_of(letters_of(actor, wanted))
    wait = asked(actor, preview.by_pool)
    sample = newest(group)
    facets = where(group)
    rights = pool_rights(actor, group.pool, REQUEUE, DISCARD, REVEAL)
    return {
        "group": group,
        "pool": group.pool,
        "badge": badge(group),
        "notes": notes_of(group),
        "may_decide": rights[REQUEUE],
        "decisions": group_offers(OFFERED[group.shown_state] if rights[REQUEUE].allowed else ()),
        "runbook": group_offers(["runbook"]),
        "history": history(group),
        "sample": sample,
        "traceback": traceback_of(sample) if sample else "",
        "facets": facets,
        "claim": claim(group, facets),
        "preview": preview,
        "places": places_of(group),
        "may_reveal": rights[REVEAL].allowed,
        "offers": offers(rights, urlencode(wanted.at_moment(preview.newest).as_query())),
        "form": RequeueForm(initial=suggested(preview.count), auto_id="here_%s"),
        "button": button(VERBS["requeue"], preview, wait),
        "warnings": warnings(OperationKind.REQUEUE, preview, wait),
    }
