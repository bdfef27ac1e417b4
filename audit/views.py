"""The log's pages. Reading is all that they do: every one answers GET and HEAD only."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit import rows
from audit.forms import FilterForm
from audit.models import Event
from audit.selectors import (
    Filters,
    Page,
    event_by_index,
    events,
    events_around,
    log_state,
    pending_events,
    personal_values,
    same_request,
)
from controlplane.actors import actor_of


@require_safe
def timeline(request: HttpRequest) -> HttpResponse:
    """Newest first; what is pending stands on top of the first page. A filter that cannot be read shows nothing."""
    actor, form = actor_of(request), FilterForm(request.GET)
    understood = form.is_valid()
    filters, cursor = (form.filters(), form.cleaned_data["cursor"]) if understood else (Filters(), None)
    page = events(actor, filters, before=cursor)
    pending = pending_events(actor, filters) if cursor is None else []
    if not understood:
        page, pending = Page([], None), []
    context = {
        "form": form,
        "days": rows.days(page.events),
        "pending": [rows.Row(event) for event in pending],
        "filtered": filters != Filters() or not understood,
        "query": _query(request),
        "state": log_state(),
        "next": page.next,
    }
    return render(request, "audit/timeline.html", context, status=200 if understood else 400)


@require_safe
def event(request: HttpRequest, index: int) -> HttpResponse:
    """One event beside its stretch of the timeline."""
    actor, form = actor_of(request), FilterForm(request.GET)
    try:
        found = event_by_index(actor, index)
    except Event.DoesNotExist as missing:
        raise Http404 from missing
    filters = form.filters() if form.is_valid() else Filters()
    context = {
        "row": rows.Row(found, index),
        "outcome": rows.OUTCOMES[found.outcome],
        "changes": rows.changes(found),
        "facts": rows.facts(found),
        "personal": personal_values(found),
        "same_request": [rows.Row(other, other.placed.index) for other in same_request(actor, found)],
        "leaf": bytes(found.leaf).decode(),
        "leaf_hash": bytes(found.placed.hash).hex(),
        "days": rows.days(events_around(actor, filters, index)),
        "query": _query(request),
        "state": log_state(),
    }
    return render(request, "audit/event.html", context)


def _query(request: HttpRequest) -> str:
    """The filters, for links that keep them; the place in the list is left out."""
    parameters = request.GET.copy()
    parameters.pop("cursor", None)
    return f"?{parameters.urlencode()}" if parameters else ""
