"""Config: edit it as a form or as YAML, compare, publish; its history; going back."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.forms.config import ConfigForm, RestoreForm, YamlForm
from pools.models import Pool
from pools.operations import config_publish, config_restore
from pools.permissions import CONFIG
from pools.selectors.config import (
    change_to,
    difference,
    history,
    newest_spec,
    signature_of,
    signed_payload,
    spec_of,
    version_of,
)
from pools.selectors.pools import pool_of
from pools.selectors.rights import pool_rights
from pools.spec import to_yaml
from pools.views._acting import act, ask

Editor = ConfigForm | YamlForm
EDITORS: dict[str, type[ConfigForm] | type[YamlForm]] = {"form": ConfigForm, "yaml": YamlForm}


@require_http_methods(["GET", "HEAD", "POST"])
def config(request: HttpRequest, slug: str) -> HttpResponse:
    """The editor. ``do`` in a POST: ``publish`` writes; others (``compare``, ``add_rule``, ``form`` …) only show."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    if request.method != "POST":
        return _page(request, actor, pool, _fresh(request, pool))
    form, do = _typed(request), request.POST.get("do", "publish")
    if do in EDITORS:
        return _page(request, actor, pool, _translated(form, do))
    if do != "publish":
        return _page(request, actor, pool, form)
    return act(
        request,
        form,
        lambda data: config_publish(
            actor=actor, pool=pool, spec=form.chosen, message=data["message"], expected_version=data["expected_version"]
        ),
        done=lambda made: f"v{made.number} of {slug} is published. The controller signs it, agents verify it.",
        to=lambda made: reverse("config-version", args=[slug, made.number]),
        otherwise=lambda status: _page(request, actor, pool, form, status),
    )


def _fresh(request: HttpRequest, pool: Pool) -> Editor:
    spec = newest_spec(pool)
    kind = EDITORS["yaml" if request.GET.get("as") == "yaml" else "form"]
    return kind(initial=kind.initial_of(spec) if spec else {})


def _typed(request: HttpRequest) -> Editor:
    do = request.POST.get("do", "publish")
    form: Editor
    if request.POST.get("as") == "yaml":
        form = YamlForm(request.POST)
    else:
        form = ConfigForm(request.POST, do=do)
    form.fields["message"].required = do == "publish"  # not asked for while somebody still compares
    return form


def _translated(form: Editor, wanted: str) -> Editor:
    """The same spec in the other editor; when it does not hold yet, the same editor with what is wrong."""
    if wanted == form.editor or not form.is_valid():
        return form
    kind = EDITORS[wanted]
    return kind(initial=kind.initial_of(form.chosen) | {"message": form.cleaned_data["message"]})


def _page(request: HttpRequest, actor: Actor, pool: Pool, form: Editor, status: int = 200) -> HttpResponse:
    is_part = bool(request.headers.get("HX-Request")) and request.POST.get("do") == "compare"
    versions, older = history(pool, _before(request))
    context = {
        "pool": pool,
        "form": form,
        "right": pool_rights(actor, pool, CONFIG)[CONFIG],
        "versions": versions,
        "older": older,
        "expected": pool.config_number,
        "is_part": is_part,
        **_comparison(pool, form, status),
    }
    template = "pools/_comparison.html" if is_part else "pools/config.html"
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def _comparison(pool: Pool, form: Editor, status: int) -> dict[str, Any]:
    """What would change against the newest version; after a conflict also what the other person changed meanwhile."""
    found: dict[str, Any] = {"compared": False}
    if form.is_bound and (form.is_valid() or form.spec):
        found = {"compared": True, "changes": difference(newest_spec(pool), form.chosen)}
    if status == 409:
        newest = version_of(pool, pool.config_number)
        found |= {"newest": newest, "their_changes": change_to(newest)}
    return found


def _before(request: HttpRequest) -> int | None:
    cursor = request.GET.get("cursor", "")
    return int(cursor) if cursor.isdecimal() and len(cursor) < 10 else None


@require_safe
def config_version(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """One version: what it says, what it changed, who signed it and what exactly was signed."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    return render(request, "pools/config_version.html", _version_context(actor, pool, number))


def _version_context(actor: Actor, pool: Pool, number: int) -> dict[str, Any]:
    version = version_of(pool, number)
    return {
        "pool": pool,
        "version": version,
        "yaml": to_yaml(spec_of(version)),
        "changes": change_to(version),
        "signature": signature_of(version),
        "payload": signed_payload(version),
        "is_newest": number == pool.config_number,
        "is_running": number == pool.published_number,
        "right": pool_rights(actor, pool, CONFIG)[CONFIG],
        "number_before": number - 1,
        "number_after": number + 1,
        "next": pool.config_number + 1,
        "go_back": f"Publish v{pool.config_number + 1} as v{number} was",
        "back": difference(newest_spec(pool), spec_of(version)),
    }


@require_http_methods(["GET", "HEAD", "POST"])
def config_restore_page(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Go back to an older version, as a new one."""
    actor = actor_of(request)
    pool = pool_of(actor, slug)
    form = RestoreForm(request.POST or None)
    page = _version_context(actor, pool, number) | {"form": form}
    return ask(
        request,
        form,
        "pools/restore.html",
        page,
        lambda data: config_restore(
            actor=actor, pool=pool, number=number, message=data["reason"], expected_version=data["expected_version"]
        ),
        done=lambda made: f"v{made.number} of {slug} says what v{number} said. The controller signs it.",
        to=lambda made: reverse("config-version", args=[slug, made.number]),
    )
