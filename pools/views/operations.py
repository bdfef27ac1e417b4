"""Operations while they run and after."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.operations import ApproveForm, MoveForm, RateForm, WhyForm
from pools.models import Operation, OperationKind
from pools.operations import (
    operation_again,
    operation_approve,
    operation_cancel,
    operation_decline,
    operation_pause,
    operation_rate,
    operation_recall,
    operation_resume,
    operation_start,
    operation_undo,
)
from pools.operations.dead_letters import PERMISSIONS
from pools.operations.moves import FIXED
from pools.permissions import REVEAL, can_globally
from pools.selectors.operations import (
    edit_phrase,
    find_operation,
    item_tabs,
    items_page,
    operation_page,
    operation_tabs,
    operation_target,
    pools_without,
    row_of,
)
from pools.selectors.outcomes import CONTENT_TYPES, Format, filename, outcome_lines
from pools.selectors.phrases import names
from pools.selectors.progress import came_back, effect_of, progress_of, rate_phrase, seconds_left, stage_of
from pools.selectors.triage import right
from pools.views._acting import act
from pools.views._approval import approval_context
from pools.views._moves import asks_why, moves
from pools.views.handling import only_by_post

MOVES: dict[str, Callable[..., Operation]] = {
    "start": operation_start,
    "pause": operation_pause,
    "resume": operation_resume,
    "cancel": operation_cancel,
    "approve": operation_approve,
    "decline": operation_decline,
    "recall": operation_recall,
    "rate": operation_rate,
    "again": operation_again,
    "undo": operation_undo,
}
DONE = {
    "start": "Operation {pk} has begun.",
    "pause": "Operation {pk} pauses after the chunk that is under way.",
    "resume": "Operation {pk} goes on.",
    "cancel": "Operation {pk} is cancelled. What was sent stays sent.",
    "approve": "Operation {pk} is approved and has begun.",
    "decline": "Operation {pk} is declined: nothing was sent.",
    "recall": "Operation {pk} is being recalled. What runs already stays.",
    "rate": "The rate of operation {pk} is changed.",
    "again awaiting": "Operation {pk} is frozen and awaits the approval of another person.",
    "again": "Operation {pk} is frozen: look at it, then start it.",
    "undo": "Operation {pk} restores them. This page follows it.",
}
FORMS: dict[str, type[MoveForm]] = {"rate": RateForm, "approve": ApproveForm, "decline": WhyForm}


@require_safe
def operations(request: HttpRequest) -> HttpResponse:
    """All operations that the visitor may see, newest first; ``state`` narrows."""
    actor = actor_of(request)
    state = request.GET.get("state", "all")
    context = {
        "state": state,
        "tabs": operation_tabs(actor),
        "page": operation_page(actor, state, request.GET.get("cursor", "")),
    }
    return render(request, "operations/operations.html", context)


@require_safe
def operation(request: HttpRequest, pk: int) -> HttpResponse:
    """One operation: stages, outcomes, items, who and why."""
    actor = actor_of(request)
    return render(request, "operations/operation.html", _context(request, actor, _find(actor, pk)))


def move(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Whatever changes an operation, only by POST. What cannot be taken back asks why."""
    actor = actor_of(request)
    row = _find(actor, pk)
    if request.method != "POST":
        return only_by_post(request, "operations/operation.html", _context(request, actor, row))
    form = _form_of(verb, row)(request.POST)
    return act(
        request,
        form,
        lambda data: MOVES[verb](actor=actor, operation=row, **data),
        done=lambda moved: DONE.get(f"{verb} {moved.state}", DONE[verb]).format(pk=moved.pk),
        to=lambda moved: reverse("operation", args=[moved.pk]),
        otherwise=lambda status: render(
            request, "operations/operation.html", _context(request, actor, _find(actor, pk), form), status=status
        ),
    )


@require_safe
def outcomes(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """What became of each job, as a file: CSV unless ``format=jsonl``."""
    row = _find(actor_of(request), pk)
    wanted = Format.JSONL if request.GET.get("format") == Format.JSONL else Format.CSV
    response = StreamingHttpResponse(outcome_lines(row, wanted), content_type=CONTENT_TYPES[wanted])
    response["Content-Disposition"] = f'attachment; filename="{filename(row, wanted)}"'
    return response


def _form_of(verb: str, row: Operation) -> type[MoveForm]:
    if verb in FORMS:
        return FORMS[verb]
    return WhyForm if asks_why(verb, row) else MoveForm


def _rate_form(row: Operation, form: MoveForm | None, auto_id: str) -> RateForm:
    """The form that was refused, or a new one."""
    typed = form.data if isinstance(form, RateForm) else None
    return RateForm(typed, initial={"rate_per_second": row.rate_per_second}, auto_id=auto_id)


def _find(actor: Actor, pk: int) -> Operation:
    try:
        return find_operation(actor, pk)
    except Operation.DoesNotExist as missing:
        raise Http404 from missing


def _context(request: HttpRequest, actor: Actor, row: Operation, form: MoveForm | None = None) -> dict[str, Any]:
    progress = progress_of(row)
    tab = request.GET.get("show", "all")
    permission = PERMISSIONS[OperationKind(row.kind)]
    without = pools_without(actor, row, permission)
    allowed, asked = moves(row, progress)
    return {
        "row": row_of(row, progress),
        "operation": row,
        "progress": progress,
        "effect": effect_of(row, progress),
        "form": form,
        "stage": stage_of(row, progress),
        "seconds_left": seconds_left(row, progress),
        "guard": came_back(row),
        "rate": rate_phrase(row.rate_per_second),
        "moves": allowed,
        "asks": asked,
        "rate_form": _rate_form(row, form, "rate_%s"),
        "rate_page_form": _rate_form(row, form, "rate_page_%s"),
        "may_change_rate": row.state not in FIXED,
        "right": right(permission, allowed=not without),
        "without": names(without),
        "tab": tab,
        "tabs": item_tabs(row, progress),
        "page": items_page(row, tab, request.GET.get("cursor", "")),
        "edited": edit_phrase(row, named=not pools_without(actor, row, REVEAL))
        if row.kind == OperationKind.EDIT
        else "",
        "chosen_by": urlencode(row.selection.get("filter", {})),
        "may_audit": can_globally(actor, "audit.view_event"),
        "audit_query": urlencode({"target": operation_target(row, []).name}),
    } | approval_context(actor, row)
