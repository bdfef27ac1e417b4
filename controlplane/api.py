"""The API under ``/api/v1/``: the same operations, permissions and events as the pages."""

from audit.api import router as audit_router
from django.contrib.auth.decorators import login_not_required
from ninja import NinjaAPI

from pools.api.auth import BearerToken
from pools.api.dead_letters import router as dead_letters_router
from pools.api.docs import Reference
from pools.api.fleet import router as fleet_router
from pools.api.operations import router as operations_router
from pools.api.pools import router as pools_router
from pools.api.problems import install_problems

api = NinjaAPI(
    title="Poolwarden",
    version="1",
    description="Bearer tokens; errors are RFC 9457 problem documents; lists page by cursor; times are RFC 3339 UTC; "
    "writes take an Idempotency-Key.",
    urls_namespace="api",
    auth=BearerToken(),
    docs=Reference(),
    docs_url="/docs",
    openapi_url="/openapi.json",
)
api.add_router("/pools", pools_router, tags=["pools"])
api.add_router("/", fleet_router, tags=["fleet"])
api.add_router("/", dead_letters_router, tags=["dead letters"])
api.add_router("/operations", operations_router, tags=["operations"])
api.add_router("/audit", audit_router, tags=["audit"])
install_problems(api)

urls = api.urls
for pattern in urls[0]:
    # The API authenticates by token; the pages' sign-in redirect must not step in.
    login_not_required(pattern.callback)
