"""Sign-in and sign-out. Each try, good or bad, is an event."""

from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from audit.actor import Actor, system_actor
from audit.recorder import record
from audit.target import Target
from controlplane.actors import actor_of
from controlplane.http import request_context, safe_next
from controlplane.sign_in_guard import MINUTES, forget_failures, note_failure, too_many_failures


@login_not_required
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.user.is_authenticated:
        return redirect(safe_next(request, "overview"))
    form = AuthenticationForm(request, request.POST if request.method == "POST" else None)
    if request.method == "GET":
        return _page(request, form)
    username = request.POST.get("username", "").replace("\x00", "")[:150]
    if too_many_failures(username, request_context(request).address):
        with transaction.atomic():
            _record_failure(request, username, "session.rate_limited", f"too many failures within {MINUTES} minutes")
        return _page(request, AuthenticationForm(request), limited=True, status=429)
    if not form.is_valid():
        with transaction.atomic():
            note_failure(username, request_context(request).address)
            _record_failure(request, username, "session.sign_in_failed", "wrong name or password")
        return _page(request, form, status=422)
    with transaction.atomic():
        login(request, form.get_user())
        forget_failures(username)
        actor = actor_of(request)
        record(actor=actor, action="session.signed_in", target=_account(actor.id, actor.name))
    return redirect(safe_next(request, "overview"))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    with transaction.atomic():
        record(actor=actor, action="session.signed_out", target=_account(actor.id, actor.name))
        logout(request)
    return redirect("sign-in")


def _page(request: HttpRequest, form: AuthenticationForm, *, limited: bool = False, status: int = 200) -> HttpResponse:
    context = {"form": form, "limited": limited, "next": safe_next(request, "")}
    return render(request, "controlplane/sign_in.html", context, status=status)


def _record_failure(request: HttpRequest, username: str, action: str, reason: str) -> None:
    """The name may be a password that went into the wrong field: the log keeps it as a personal value."""
    context, door = request_context(request), system_actor("sign-in")
    actor = Actor(kind=door.kind, id=door.id, name=door.name, request_id=context.request_id, address=context.address)
    record(actor=actor, action=action, target=_account("", username), outcome="failed", reason=reason)


def _account(pk: str, name: str) -> Target:
    return Target(kind="user", id=pk, name=name)
