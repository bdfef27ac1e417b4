"""Requeue, move and discard: from a selection to what it would touch, and with a reason to an operation.

The filter stands in the query string, the selection in the body: ``id`` (dead letters), ``group`` (failure groups, as
far as the filter matches) or ``all_matching``. Without a ``reason`` nothing is done: the answer shows what would be.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.dead_letters import ConfirmForm, chosen
from pools.forms.operations import MoveQueueForm, RequeueForm, suggested
from pools.models import DeadLetter, Operation, OperationState
from pools.operations import Selection, discard_create, move_create, requeue_create
from pools.operations.dead_letters import select
from pools.operations.errors import Refused
from pools.permissions import DISCARD, REQUEUE
from pools.selectors.approvals import Asked, asked
from pools.selectors.dead_letters import DeadLetterFilter, FilterError, dead_letters
from pools.selectors.phrases import jobs, names
from pools.selectors.queues import Target, targets
from pools.selectors.rights import Right
from pools.selectors.triage import Preview, lacking, preview_of, right
from pools.views._acting import act


@dataclass(frozen=True)
class Verb:
    """What may be done with dead letters. ``tone`` is ``bad`` for what cannot be taken back."""

    key: str
    name: str
    permission: str
    run: Callable[..., Operation]
    letter: str
    form: type[ConfirmForm]
    tone: str = ""


@dataclass(frozen=True)
class Offer:
    """A verb on a page: where its button leads, and whether this visitor may press it."""

    verb: Verb
    url: str
    right: Right


VERBS = {
    "requeue": Verb("requeue", "Requeue", REQUEUE, requeue_create, "r", RequeueForm),
    "move": Verb("move", "Move", REQUEUE, move_create, "m", MoveQueueForm),
    "discard": Verb("discard", "Discard", DISCARD, discard_create, "d", ConfirmForm, "bad"),
}


def offers(rights: Mapping[str, Right], query: str = "") -> list[Offer]:
    """All verbs for what the filter in ``query`` matches; ``rights`` by permission."""
    suffix = f"?{query}" if query else ""
    return [
        Offer(verb, reverse(f"dead-letters-{key}") + suffix, rights[verb.permission]) for key, verb in VERBS.items()
    ]


def handle(request: HttpRequest, verb: str) -> HttpResponse:
    """Show what the selection holds; with a reason, freeze it and start the operation. Only by POST."""
    actor, doing = actor_of(request), VERBS[verb]
    if request.method != "POST":
        page = {"verb": doing, "problem": "Select what to handle first. Nothing was changed.", "count": 0}
        return only_by_post(request, "dead_letters/confirm.html", page)
    asked = "reason" in request.POST
    form = doing.form(request.POST) if asked else None
    try:
        selection = _selection(request)
        found = _named(actor, selection)
    except (FilterError, Refused) as problem:
        page = {"verb": doing, "problem": f"{problem.message}", "count": 0}
        return render(request, _template(request), page, status=422)

    def page_with(status: int) -> HttpResponse:
        return render(request, _template(request), _context(actor, doing, selection, found, form), status=status)

    if form is None:
        return page_with(200)
    return act(
        request,
        form,
        lambda data: doing.run(actor=actor, selection=selection, **data),
        done=lambda row: _said(doing, row),
        to=lambda row: reverse("operation", args=[row.pk]),
        otherwise=page_with,
    )


def _said(verb: Verb, row: Operation) -> str:
    if row.state == OperationState.AWAITING:
        return f"{verb.name} of {jobs(row.frozen_count)} awaits the approval of another person. Nothing is sent before."
    return f"{verb.name} of {jobs(row.frozen_count)} has begun. This page follows it."


def only_by_post(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """A page for whoever comes here by a link, such as from signing in again on the way: nothing is done."""
    response = render(request, template, context, status=405)
    response["Allow"] = "POST"
    return response


def _template(request: HttpRequest) -> str:
    """The whole page, or only its form for the dialog of the page that the visitor is on."""
    return "dead_letters/confirm.html#form" if request.htmx else "dead_letters/confirm.html"  # type: ignore[attr-defined]


def _selection(request: HttpRequest) -> Selection:
    """Raises ``FilterError``, ``Refused``."""
    wanted = DeadLetterFilter.from_query(request.GET.dict())
    if request.POST.get("all_matching"):
        return Selection(filter=wanted)
    if groups := chosen(request.POST.getlist("group")):
        return Selection(filter=replace(wanted, group=",".join(map(str, groups))))
    ids = chosen(request.POST.getlist("id"))
    if not ids:
        raise Refused("ids", "Nothing is selected: tick at least one row. Nothing was changed.")
    return Selection(ids=ids)


def _named(actor: Actor, selection: Selection) -> QuerySet[DeadLetter]:
    """The open dead letters of the selection. Raises ``Refused``; 404 for rows of which the visitor may see none."""
    group = selection.filter.group if selection.filter else ""
    if selection.ids or group:
        known = dead_letters(actor, DeadLetterFilter(state="any", group=group))
        if not (known.filter(pk__in=selection.ids) if selection.ids else known).exists():
            raise Http404
    return select(actor, selection)


def _context(
    actor: Actor, verb: Verb, selection: Selection, found: QuerySet[DeadLetter], form: ConfirmForm | None
) -> dict[str, Any]:
    """What the confirmation shows. Its form names the same set again, however many jobs fail in the meantime."""
    preview = preview_of(found)
    wait = asked(actor, preview.by_pool)
    queues = targets(actor, preview.by_pool[0][0].broker) if verb.key == "move" and preview.by_pool else []
    without = lacking(actor, verb.permission, found)
    url, back = reverse(f"dead-letters-{verb.key}"), reverse("dead-letters")
    hidden = [("id", pk) for pk in selection.ids]
    if selection.filter:
        url += "?" + urlencode(selection.filter.at_moment(preview.newest).as_query())
        back += "?" + urlencode(selection.filter.as_query())
        hidden = [("all_matching", 1)]
    return {
        "verb": verb,
        "form": verb.form(initial=suggested(preview.count)) if form is None else form,
        "preview": preview,
        "count": preview.count,
        "left_out": len(selection.ids) - preview.count if selection.ids else 0,
        "warnings": warnings(verb, preview, wait) + limits_elsewhere(preview, queues),
        "queues": [queue.name for queue in queues],
        "lacking": names(without),
        "right": right(verb.permission, allowed=not without),
        "url": url,
        "preview_query": urlencode(
            selection.filter.as_query() if selection.filter else [("id", pk) for pk in selection.ids]
        ),
        "back": back,
        "hidden": hidden,
        "button": button(verb, preview, wait),
    }


def button(verb: Verb, preview: Preview, wait: Asked | None) -> str:
    """Named by what it does: above a pool's limit it asks a second person."""
    return f"Ask to {verb.key} {jobs(preview.count)}" if wait else f"{verb.name} {jobs(preview.count)}"


def limits_elsewhere(preview: Preview, queues: list[Target]) -> list[str]:
    """Which other pools would ask a second person about so many jobs, if they were moved there."""
    here = {pool.pk for pool, _ in preview.by_pool}
    pools = {queue.pool.slug: queue.pool.approved_above for queue in queues if queue.pool.pk not in here}
    asking = sorted(slug for slug, limit in pools.items() if limit is not None and preview.count > limit)
    return [f"Moving so many to a queue of {names(asking)} needs a second person's approval."] if asking else []


def warnings(verb: Verb, preview: Preview, wait: Asked | None) -> list[str]:
    """What to know before the click, not after it."""
    said = [wait.sentence] if wait else []
    if verb.key == "requeue" and preview.paused:
        several = len(preview.paused) > 1
        said.append(f"{names(preview.paused)} {'take' if several else 'takes'} no jobs now: what is sent there waits.")
    if verb.key != "discard" and preview.damaged:
        said.append(f"{jobs(preview.damaged)} could not be read in full; those that RQ could not run are skipped.")
    if preview.expired:
        said.append(f"{jobs(preview.expired)} outlived their failure TTL; those that the broker dropped are skipped.")
    return said
