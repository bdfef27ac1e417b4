"""What an auditor may do besides looking: export, save filters, ask for a checkpoint; and the erasure of personal
values, for which a right of its own is needed."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from audit import operations, rows, selectors
from audit.actor import Actor
from audit.forms import EraseForm, ExportForm, FilterForm, SaveFilterForm
from audit.models import Event, SavedFilter
from audit.permissions import ERASE, VIEW, allowed, require, who_can_grant
from audit.recorder import AuditError
from audit.selectors import Filters
from audit.views.reading import event_or_404, query_of, timeline_page
from controlplane.actors import actor_of
from controlplane.http import safe_next
from controlplane.wording import count


@require_POST
def request_checkpoint(request: HttpRequest) -> HttpResponse:
    operations.request_checkpoint(actor=actor_of(request))
    messages.success(request, "A checkpoint was asked for. It appears here when the controller has signed it.")
    return redirect(safe_next(request, reverse("audit:timeline")))


@require_http_methods(["GET", "HEAD", "POST"])
def new_export(request: HttpRequest) -> HttpResponse:
    """Ask for a file of what the filters in the address match."""
    actor, form, narrowed = actor_of(request), ExportForm(_posted(request)), FilterForm(request.GET)
    readable = narrowed.is_valid()
    filters = narrowed.filters() if readable else Filters()
    if request.method != "POST":
        require(actor, VIEW)
    elif (readable or not allowed(actor, VIEW)) and _done(
        actor, VIEW, form, lambda data: operations.request_export(actor=actor, filters=filters, **data)
    ):
        messages.success(request, "The export is asked for. Its progress is shown here.")
        return redirect("audit:exports")
    if not readable:
        return render(request, "audit/export_new.html", {"unreadable": True}, status=400)
    context = {"form": form, "filters": filters.as_dict(), "query": query_of(request)}
    return render(request, "audit/export_new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def erase(request: HttpRequest, index: int) -> HttpResponse:
    """Erase personal values of one event, or the same values in all events."""
    actor, form = actor_of(request), EraseForm(_posted(request))

    def run(data: dict[str, Any]) -> None:
        erased = operations.erase_personal(actor=actor, index=index, **data)
        messages.success(request, f"Erased values: {count(erased)}. Every proof still holds.")

    if request.method == "POST" and _done(actor, ERASE, form, run):
        return redirect("audit:event", index=index)
    found = event_or_404(actor, index)
    counts = selectors.same_value_counts(found)
    context = {
        "row": rows.Row(found, index),
        "form": form,
        "personal": [(field, counts.get(field.name, 0)) for field in rows.personal_fields(found)],
        "left": bool(counts),
        "everywhere": sum(counts.values()),
        "may_erase": allowed(actor, ERASE),
        "permission": ERASE,
        "granters": who_can_grant(),
    }
    return render(request, "audit/erase.html", context, status=422 if form.errors else 200)


@require_POST
def save_filter(request: HttpRequest) -> HttpResponse:
    """Keep the timeline's filter under a name."""
    actor, form = actor_of(request), SaveFilterForm(request.POST)
    if _done(actor, VIEW, form, lambda data: operations.save_filter(actor=actor, **data)):
        name = form.cleaned_data["name"]
        messages.success(request, f"The filter {name} is saved.")
        return redirect(f"{reverse('audit:timeline')}?{form.cleaned_data['query']}")
    request.GET = QueryDict(request.POST.get("query", "").removeprefix("?"))
    return timeline_page(request, form, status=422)


@require_POST
def delete_filter(request: HttpRequest, pk: int) -> HttpResponse:
    try:
        operations.delete_filter(actor=actor_of(request), pk=pk)
    except SavedFilter.DoesNotExist as gone:
        raise Http404 from gone
    messages.success(request, "The saved filter is deleted.")
    return redirect("audit:timeline")


def _posted(request: HttpRequest) -> QueryDict | None:
    return request.POST if request.method == "POST" else None


def _done(actor: Actor, permission: str, form: Form, run: Callable[[dict[str, Any]], object]) -> bool:
    """Run with the form's data when it is valid; what is refused becomes an error of the form.

    Who lacks the permission gets to the operation whatever was typed: it refuses, and records that.
    """
    if not allowed(actor, permission):
        run({name: form.data.get(name, "") for name in form.fields})
    if not form.is_valid():
        return False
    try:
        run(form.cleaned_data)
    except Event.DoesNotExist as missing:
        raise Http404 from missing
    except AuditError as refused:
        form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        return False
    return True
