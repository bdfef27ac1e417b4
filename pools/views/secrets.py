"""The registry of secret references."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from controlplane.actors import actor_of
from pools.forms.secrets import SecretChangeForm, SecretForm
from pools.forms.verbs import ReasonForm
from pools.operations import secret_change, secret_register, secret_remove
from pools.selectors.pools import teams_of
from pools.selectors.rights import global_rights
from pools.selectors.secrets import MANAGE, secret_of
from pools.selectors.secrets import secrets as secrets_of
from pools.views._acting import ask


@require_safe
def secrets(request: HttpRequest) -> HttpResponse:
    """Names, references and the pools that use them."""
    actor = actor_of(request)
    context = {
        "rows": secrets_of(actor),
        "right": global_rights(actor, MANAGE)[MANAGE],
        "prefixes": settings.POOLWARDEN_SECRET_PREFIXES,
    }
    return render(request, "secrets/secrets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def secret_new(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    form = SecretForm(request.POST or None, teams=teams_of(actor))
    page = {
        "form": form,
        "right": global_rights(actor, MANAGE)[MANAGE],
        "prefixes": settings.POOLWARDEN_SECRET_PREFIXES,
    }
    return ask(
        request,
        form,
        "secrets/edit.html",
        page,
        lambda data: secret_register(actor=actor, **data),
        done=lambda made: f"{made.name} is registered. A pool's config may name it now.",
        to=lambda made: reverse("secrets"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def secret_edit(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    secret = secret_of(actor, name)
    initial = {"uri": secret.uri, "description": secret.description, "expected_version": secret.revision}
    form = SecretChangeForm(request.POST or None, initial=initial)
    page = {"form": form, "secret": secret, "right": global_rights(actor, MANAGE)[MANAGE]}
    page["prefixes"] = settings.POOLWARDEN_SECRET_PREFIXES
    return ask(
        request,
        form,
        "secrets/edit.html",
        page,
        lambda data: secret_change(actor=actor, secret=secret, **data),
        done=lambda made: f"{name} is changed. Pools read the new reference from their next config version on.",
        to=lambda made: reverse("secrets"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def secret_delete(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    secret = secret_of(actor, name)
    form = ReasonForm(request.POST or None)
    page = {"form": form, "secret": secret, "right": global_rights(actor, MANAGE)[MANAGE]}
    return ask(
        request,
        form,
        "secrets/remove.html",
        page,
        lambda data: secret_remove(actor=actor, secret=secret, reason=data["reason"]),
        done=lambda _: f"{name} is removed. Its value stays where it is.",
        to=lambda _: reverse("secrets"),
    )
