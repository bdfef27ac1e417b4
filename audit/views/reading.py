"""The timeline, one event, the exports. Every page answers GET and HEAD only, and leaves no trace."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from audit import exporter, proofs, rows, selectors
from audit.actor import Actor
from audit.forms import FilterForm, SaveFilterForm
from audit.models import Checkpoint, Event, Export
from audit.permissions import ERASE, allowed, who_can_grant
from audit.selectors import Filters, Page
from controlplane.actors import actor_of


@require_safe
def timeline(request: HttpRequest) -> HttpResponse:
    """Newest first; what is pending stands on top of the first page. A filter that cannot be read shows nothing."""
    return timeline_page(request, SaveFilterForm())


def timeline_page(request: HttpRequest, save: SaveFilterForm, status: int = 200) -> HttpResponse:
    """``save`` is the form for keeping the filter, which may come with errors; the filters are those of the address,
    or those that were to be saved."""
    actor, form = actor_of(request), FilterForm(request.GET)
    understood = form.is_valid()
    filters, cursor = (form.filters(), form.cleaned_data["cursor"]) if understood else (Filters(), None)
    page = selectors.events(actor, filters, before=cursor)
    pending = selectors.pending_events(actor, filters) if cursor is None else []
    if not understood:
        page, pending, status = Page([], None), [], 400
    context = {
        "form": form,
        "save": save,
        "saved": selectors.saved_filters(actor),
        "days": rows.days(page.events),
        "pending": [rows.Row(event) for event in pending],
        "filtered": filters != Filters() or not understood,
        "query": query_of(request),
        "next": page.next,
        "searched": page.searched,
    }
    return render(request, "audit/timeline.html", context | state_of_the_log(), status=status)


@require_safe
def event(request: HttpRequest, index: int) -> HttpResponse:
    """One event beside its stretch of the timeline."""
    actor, form = actor_of(request), FilterForm(request.GET)
    found = event_or_404(actor, index)
    filters = form.filters() if form.is_valid() else Filters()
    context = {
        "row": rows.Row(found, index),
        "outcome": rows.OUTCOMES[found.outcome],
        "changes": rows.changes(found),
        "facts": rows.facts(found),
        "differences": rows.differences(found),
        "personal": rows.personal_fields(found),
        "may_erase": allowed(actor, ERASE),
        "granters": who_can_grant(),
        "same_request": [rows.Row(other, other.placed.index) for other in selectors.same_request(actor, found)],
        "leaf": bytes(found.leaf).decode(errors="replace"),
        "leaf_hash": bytes(found.placed.hash).hex(),
        "days": rows.days(selectors.events_around(actor, filters, index)),
        "query": query_of(request),
    }
    return render(request, "audit/event.html", context | _proof(actor, index) | state_of_the_log())


@require_safe
def exports(request: HttpRequest) -> HttpResponse:
    """Who asked for what, how far it is, and what can be fetched."""
    found = [rows.ExportRow(export, exporter.is_kept(export)) for export in selectors.exports(actor_of(request))]
    context = {"exports": found, "kept_days": exporter.KEPT.days}
    return render(request, "audit/exports.html", context | state_of_the_log())


@require_safe
def download(request: HttpRequest, uid: UUID) -> HttpResponse | FileResponse:
    """The file of an export that is done."""
    try:
        export = selectors.export_of(actor_of(request), uid)
        file = exporter.path_of(export).open("rb")
    except (Export.DoesNotExist, FileNotFoundError) as gone:
        raise Http404 from gone
    return FileResponse(file, as_attachment=True, filename=rows.ExportRow(export).file_name)


def event_or_404(actor: Actor, index: int) -> Event:
    try:
        return selectors.event_by_index(actor, index)
    except Event.DoesNotExist as missing:
        raise Http404 from missing


def state_of_the_log() -> dict[str, Any]:
    """What stands above every page of the log."""
    every = getattr(settings, "POOLWARDEN_CHECKPOINT_SECONDS", 10)
    return {"state": selectors.log_state(), "badge": proofs.badge(), "checkpoint_seconds": every}


def query_of(request: HttpRequest) -> str:
    """The filters, for links that keep them; the place in the list is left out."""
    parameters = request.GET.copy()
    parameters.pop("cursor", None)
    return f"?{parameters.urlencode()}" if parameters else ""


def _proof(actor: Actor, index: int) -> dict[str, Any]:
    """For the proof's panel; ``lost`` when the log cannot give one, which is an alarm."""
    try:
        proof = proofs.inclusion(actor, index)
    except Checkpoint.DoesNotExist:
        return {"proof": None}
    except (LookupError, ValueError) as lost:
        return {"proof": None, "lost": str(lost)}
    return {
        "proof": proof,
        "sketch": rows.sketch(proof),
        "note": proofs.full_note(proof.checkpoint),
        "keys": proofs.known_keys(),
    }
