"""Who holds which role, and what it lets them do."""

from collections.abc import Callable
from typing import Any

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.access import RoleForm
from pools.models import Team
from pools.operations import access_grant_role, access_revoke_role
from pools.selectors.access import MANAGE, my_roles, people, permission_table, pool_access
from pools.selectors.rights import global_rights
from pools.views._acting import act, ask

VERBS = {
    "grant": (access_grant_role, "{user} has the role {role} in {team}."),
    "revoke": (access_revoke_role, "{user} no longer has the role {role} in {team}."),
}


@require_safe
def access(request: HttpRequest) -> HttpResponse:
    """The visitor's own roles, every visible pool's grants, what each role holds; people for whoever manages roles."""
    return render(request, "access/access.html", _context(actor_of(request)))


def _context(actor: Actor) -> dict[str, Any]:
    table = permission_table()
    return {
        "mine": my_roles(actor),
        "pools": pool_access(actor),
        "table": table,
        "roles": [role for role, _ in table[0].held],
        "people": people(actor),
        "right": global_rights(actor, MANAGE)[MANAGE],
    }


@require_http_methods(["GET", "HEAD", "POST"])
def role(request: HttpRequest, verb: str) -> HttpResponse:
    """Give or take one role; ``user``, ``team`` and ``role`` may come in the address."""
    actor = actor_of(request)
    right = global_rights(actor, MANAGE)[MANAGE]
    run, said = VERBS[verb]
    if request.method == "POST" and not right.allowed:
        return _denied(request, actor, run)
    asked = {name: request.GET.get(name, "") for name in ("user", "team", "role")}
    form = RoleForm(request.POST or None, initial=asked)
    page = {"form": form, "verb": verb, "right": right}
    page |= {"button": "Give the role", "tone": ""} if verb == "grant" else {"button": "Take the role", "tone": "bad"}
    return ask(
        request,
        form,
        "access/role.html",
        page,
        lambda data: run(actor=actor, **data),
        done=lambda _: said.format_map(form.cleaned_data),
        to=lambda _: reverse("access"),
    )


def _denied(request: HttpRequest, actor: Actor, run: Callable[..., None]) -> HttpResponse:
    """The operation refuses and records it, whatever was typed: the answer must not tell which accounts exist."""
    asked = {"user": actor.user, "team": Team(), "role": "", "reason": request.POST.get("reason", "")}
    return act(
        request,
        Form(request.POST),
        lambda _: run(actor=actor, **asked),
        done=lambda _: "",
        to=lambda _: reverse("access"),
        otherwise=lambda status: render(request, "access/access.html", _context(actor), status=status),
    )
