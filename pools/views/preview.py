"""What a requeue would freeze, and what of it would be skipped. Looking changes nothing."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.forms.dead_letters import chosen
from pools.models import OperationKind
from pools.operations import Selection
from pools.operations.errors import Refused
from pools.operations.foreseen import foreseen
from pools.operations.selection import select
from pools.selectors.approvals import asked
from pools.selectors.dead_letters import DeadLetterFilter, FilterError
from pools.selectors.phrases import jobs, names
from pools.selectors.triage import lacking, preview_of, right
from pools.selectors.warnings import warnings
from pools.views.filtering import address
from pools.views.handling import VERBS, Offer

LIST = "Back to the list"


@require_safe
def preview(request: HttpRequest) -> HttpResponse:
    """For a filter as in the list, or for ``id`` (dead letters); leads back there, and on to the requeue of them."""
    try:
        context, status = _shown(request), 200
    except (FilterError, Refused) as problem:
        context, status = {"problem": problem.message, "back": reverse("dead-letters"), "back_label": LIST}, 422
    return render(request, "dead_letters/preview.html", context, status=status)


def _shown(request: HttpRequest) -> dict[str, Any]:
    """Raises ``FilterError``, ``Refused``."""
    actor, verb = actor_of(request), VERBS["requeue"]
    ids = chosen(request.GET.getlist("id"))
    wanted = None if ids else DeadLetterFilter.from_query(request.GET.dict())
    actor = actor_of(request)
    found = select(actor, Selection(ids=ids, filter=wanted), OperationKind.REQUEUE).letters
    shown = preview_of(found)
    without = lacking(actor, verb.permission, shown)
    url = reverse("dead-letters-requeue")
    if wanted:
        url += "?" + urlencode(wanted.at_moment(shown.newest).as_query())
    back, back_label = _back(wanted)
    return {
        "preview": shown,
        "warnings": warnings(verb.kind, shown, asked(actor, shown.by_pool), named=bool(ids)),
        "foreseen": foreseen(found, named=bool(ids)),
        "offers": [Offer(verb, url, right(verb.permission, allowed=not without))],
        "what": jobs(shown.count),
        "lacking": names(without),
        "hidden": [("id", pk) for pk in ids] or [("all_matching", 1)],
        "back": back,
        "back_label": back_label,
    }


def _back(wanted: DeadLetterFilter | None) -> tuple[str, str]:
    """Where these jobs are listed: the list by the same filter, or the page of the one group that it names."""
    if wanted is None:
        return address(DeadLetterFilter(), "jobs"), LIST
    group = wanted.as_query() == {"group": wanted.group} and wanted.group.isdigit()
    return (reverse("failure-group", args=[wanted.group]), "Back to the group") if group else (address(wanted), LIST)
