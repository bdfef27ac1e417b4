"""Operations while they run and after."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.operations import CancelForm, MoveForm
from pools.models import Operation, OperationKind, OperationState
from pools.models.operation import TRANSITIONS
from pools.operations import operation_cancel, operation_pause, operation_resume, operation_start
from pools.operations.dead_letters import PERMISSIONS
from pools.permissions import can_globally
from pools.selectors.operations import (
    Progress,
    effect_of,
    find_operation,
    item_tabs,
    items_page,
    operation_page,
    operation_tabs,
    operation_target,
    pools_without,
    progress_of,
    row_of,
)
from pools.selectors.phrases import jobs, names
from pools.selectors.triage import right
from pools.views._acting import act
from pools.views.handling import only_by_post

MOVES: dict[str, Callable[..., Operation]] = {
    "start": operation_start,
    "pause": operation_pause,
    "resume": operation_resume,
    "cancel": operation_cancel,
}
ICONS = {"start": "player-play", "pause": "player-pause", "resume": "player-play", "cancel": "x"}
DONE = {
    "start": "Operation {pk} has begun.",
    "pause": "Operation {pk} pauses after the chunk that is under way.",
    "resume": "Operation {pk} goes on.",
    "cancel": "Operation {pk} is cancelled. What was sent stays sent.",
}


@dataclass(frozen=True)
class Move:
    """A button of the operation's page."""

    verb: str
    label: str
    icon: str
    url: str


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
    """Start, pause, resume or cancel, only by POST. Only cancelling asks why: the others can be taken back."""
    actor = actor_of(request)
    row = _find(actor, pk)
    if request.method != "POST":
        return only_by_post(request, "operations/operation.html", _context(request, actor, row))
    form = (CancelForm if verb == "cancel" else MoveForm)(request.POST)
    return act(
        request,
        form,
        lambda data: MOVES[verb](actor=actor, operation=row, **data),
        done=lambda moved: DONE[verb].format(pk=moved.pk),
        to=lambda moved: reverse("operation", args=[moved.pk]),
        otherwise=lambda status: render(
            request, "operations/operation.html", _context(request, actor, _find(actor, pk), form), status=status
        ),
    )


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
    return {
        "row": row_of(row, progress),
        "operation": row,
        "progress": progress,
        "effect": effect_of(row, progress),
        "form": form,
        "moves": moves(row, progress),
        "right": right(permission, allowed=not without),
        "without": names(without),
        "tab": tab,
        "tabs": item_tabs(progress),
        "page": items_page(row, tab, request.GET.get("cursor", "")),
        "chosen_by": urlencode(row.selection.get("filter", {})),
        "may_audit": can_globally(actor, "audit.view_event"),
        "audit_query": urlencode({"target": operation_target(row, []).name}),
    }


def moves(row: Operation, progress: Progress) -> list[Move]:
    """The verbs that the state allows, named by their effect."""
    labels = {
        "start": f"Send {jobs(progress.pending)}",
        "pause": "Pause sending",
        "resume": f"Resume, {jobs(progress.pending)} left",
        "cancel": f"Cancel the remaining {progress.pending:,}",
    }
    verbs = [verb for verb in TRANSITIONS[OperationState(row.state)] if verb in labels]
    return [Move(verb, labels[verb], ICONS[verb], reverse(f"operation-{verb}", args=[row.pk])) for verb in verbs]
