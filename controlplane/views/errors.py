"""Error pages: what happened, what was not changed, what to do next. Never a traceback."""

import sys
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string

log = structlog.get_logger(__name__)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        message = "The form holds more than 8 MiB. Go back: your browser kept what you typed."
        return _error(request, "errors/400.html", 413, message=message)
    return _error(request, "errors/400.html", 400)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, "errors/403.html", 403, message=str(exception))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    message = "This form is no longer valid: the session may have ended. Nothing was changed. Load the page again."
    return _error(request, "errors/403.html", 403, message=message)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, "errors/404.html", 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """503 when the database is away, 500 for a defect of ours."""
    error = sys.exception()
    if isinstance(error, OperationalError | InterfaceError):
        log.error("database unreachable", error=str(error).splitlines()[0] if str(error) else "")
        return _error(request, "errors/503.html", 503)
    return _error(request, "errors/500.html", 500)


def _error(request: HttpRequest, template: str, status: int, **context: Any) -> HttpResponse:
    """Rendered without context processors: these read the session and the database, which may be what failed."""
    context |= {"request": request, "request_id": getattr(getattr(request, "context", None), "request_id", "")}
    return HttpResponse(render_to_string(template, context), status=status)
