"""Editing the arguments of one dead letter and requeueing it: only while its payload is open to the visitor.

A POST without ``do=edit`` changes nothing: it shows the difference, or the form again with what is wrong.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_http_methods

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.broker.payload_edit import Editable, pretty, read_editable
from pools.broker.payload_reveal import Unreadable
from pools.forms.edits import EDIT, REVIEW, ArgumentsForm, EditForm
from pools.models import DeadLetter, DeadLetterState, Operation, OperationKind, OperationState
from pools.operations import edit_create
from pools.permissions import REQUEUE, REVEAL
from pools.selectors.approvals import asked
from pools.selectors.jobs import KnownJob, open_reveal
from pools.selectors.rights import pool_rights
from pools.selectors.triage import preview_of
from pools.selectors.warnings import warnings
from pools.spec.comparison import line_diff
from pools.views._acting import act
from pools.views.jobs import about, find

AWAITS = "The edit awaits the approval of another person, within an hour. Nothing is sent before."
DONE = "The job is requeued with the edited payload. This page follows it."


@require_http_methods(["GET", "HEAD", "POST"])
def edit_payload(request: HttpRequest, job_id: str) -> HttpResponse:
    """The form; with ``do=review`` the difference; with ``do=edit`` and a reason it is done."""
    actor = actor_of(request)
    job = find(actor, request, job_id)
    page, payload = _page(request, actor, job)
    doing = request.POST.get("do", "")
    form = _form(request, payload)
    page["form"] = form

    def show(*, status: int = 200) -> HttpResponse:
        if doing in (REVIEW, EDIT) and payload and form and not {"args", "kwargs"} & set(form.errors):
            page["lines"] = _difference(payload, form)
            page["is_same"] = not page["lines"]
        response = render(request, "jobs/edit.html", page, status=status)
        add_never_cache_headers(response)
        return response

    if doing != EDIT or form is None:
        return show(status=422 if doing == REVIEW and form is not None and not form.is_valid() else 200)
    return act(
        request,
        form,
        lambda data: edit_create(actor=actor, job_id=job.job_id, broker=job.broker, **data),
        done=lambda row: AWAITS if row.state == OperationState.AWAITING else DONE,
        to=_operation_url,
        otherwise=show,
    )


def _page(request: HttpRequest, actor: Actor, job: KnownJob) -> tuple[dict[str, Any], Editable | None]:
    """What the page shows of the job; its payload only while it is open to the visitor."""
    rights = pool_rights(actor, job.pool, REQUEUE, REVEAL)
    page = about(request, job) | {
        "missing": [right for right in rights.values() if not right.allowed],
        "is_dead": job.letter is not None and job.letter.state == DeadLetterState.OPEN,
        "open": open_reveal(actor, job),
    }
    wait, payload = asked(actor, [(job.pool, 1)]), None
    if job.letter is not None:
        preview = preview_of(DeadLetter.objects.filter(pk=job.letter.pk))
        page["warnings"] = warnings(OperationKind.EDIT, preview, None, named=True)
    page |= {"wait": wait, "button": "Ask to requeue with this payload" if wait else "Requeue with this payload"}
    if page["open"] and page["is_dead"]:
        try:
            payload = read_editable(job.broker, job.job_id)
        except Unreadable as problem:
            page["problem"] = str(problem)
    return page | {"payload": payload}, payload


def _form(request: HttpRequest, payload: Editable | None) -> ArgumentsForm | None:
    """What was typed; at first what the payload holds. An edit is judged whatever is open: the operation refuses."""
    if request.POST.get("do") == EDIT:
        return EditForm(request.POST)
    if payload is None:
        return None
    if "args" in request.POST:
        return ArgumentsForm(request.POST)
    shown = {"seen": payload.sha256, "args": pretty(payload.args), "kwargs": pretty(payload.kwargs)}
    return ArgumentsForm(initial=shown)


def _difference(payload: Editable, form: ArgumentsForm) -> list[Any]:
    before = pretty({"args": payload.args, "kwargs": payload.kwargs})
    after = pretty({name: form.cleaned_data.get(name) for name in ("args", "kwargs")})
    return line_diff(before.splitlines(), after.splitlines()) if after != before else []


def _operation_url(row: Operation) -> str:
    return reverse("operation", args=[row.pk])
