"""For machines: is the process up, can it work, and what are its figures."""

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from pools.selectors.health import Health, health, render_metrics


@login_not_required
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Nothing else is asked."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@never_cache
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when the database answers, a controller leads and it reached every broker lately; else 503, why."""
    try:
        state = health()
    except DatabaseError:
        connection.close()
        state = Health(database=False, problems=["the database does not answer"])
    return JsonResponse(state.as_dict(), status=200 if state.ready else 503)


@login_not_required
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus text from stored samples: a scrape asks the broker nothing."""
    return HttpResponse(render_metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")
