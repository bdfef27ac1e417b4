"""The API under ``/api/v1/``: the same operations, permissions and events as the pages."""

import functools
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from audit.api import router as audit_router
from pools.api.approvals import router as approvals_router
from pools.api.auth import BearerToken
from pools.api.dead_letters import router as dead_letters_router
from pools.api.docs import Reference
from pools.api.failure_groups import router as failure_groups_router
from pools.api.fleet import router as fleet_router
from pools.api.jobs import router as jobs_router
from pools.api.notifications import router as notifications_router
from pools.api.openapi import Api
from pools.api.operations import router as operations_router
from pools.api.parsing import BodyParser
from pools.api.payloads import router as payloads_router
from pools.api.pools import router as pools_router
from pools.api.problems import install_problems, not_allowed, problem
from pools.api.rendering import Renderer
from pools.api.saved_views import router as saved_views_router

api = Api(
    title="Poolwarden",
    version="1",
    description="Bearer tokens; errors are RFC 9457 problem documents; lists page by cursor; times are RFC 3339 UTC; "
    "writes take an Idempotency-Key.",
    urls_namespace="api",
    auth=BearerToken(),
    docs=Reference(),
    docs_url="/docs",
    docs_decorator=require_safe,
    openapi_url="/openapi.json",
    parser=BodyParser(),
    renderer=Renderer(),
)
api.add_router("/pools", pools_router, tags=["pools"])
api.add_router("/", fleet_router, tags=["fleet"])
api.add_router("/", dead_letters_router, tags=["dead letters"])
api.add_router("/jobs", jobs_router, tags=["jobs"])
api.add_router("/jobs", payloads_router, tags=["jobs"])
api.add_router("/failure-groups", failure_groups_router, tags=["dead letters"])
api.add_router("/operations", operations_router, tags=["operations"])
api.add_router("/saved-views", saved_views_router, tags=["dead letters"])
api.add_router("/notification-channels", notifications_router, tags=["notifications"])
api.add_router("/operations", approvals_router, tags=["operations"])
api.add_router("/audit", audit_router, tags=["audit"])
install_problems(api)


def _edge(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Tokens authenticate here, so the sign-in page and CSRF stay away; what ninja says in plain text is a problem."""

    @login_not_required
    @csrf_exempt
    @functools.wraps(view)
    def answer(request: HttpRequest, **parameters: Any) -> HttpResponse:
        try:
            response = view(request, **parameters)
        except Http404:
            return problem(404)
        return not_allowed(response["Allow"]) if response.status_code == 405 else response

    return answer


def _nothing_here(request: HttpRequest, rest: str) -> HttpResponse:
    raise Http404(rest)


_patterns, _app, _namespace = api.urls
for pattern in _patterns:
    assert pattern.callback is not None
    pattern.callback = _edge(pattern.callback)
urls = ([*_patterns, path("<path:rest>", _edge(_nothing_here))], _app, _namespace)
