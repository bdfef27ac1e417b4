"""What every request carries: an id, the client's address, a digest of its session; and safe redirects."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.http import url_has_allowed_host_and_scheme


@dataclass(frozen=True)
class RequestContext:
    """Facts about a request that its audit events repeat."""

    request_id: str
    address: str


class RequestContextMiddleware:
    """Gives each request an id, binds it to the log and answers it as ``X-Request-ID``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        context = RequestContext(request_id=uuid.uuid4().hex, address=client_address(request))
        request.context = context  # type: ignore[attr-defined]
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=context.request_id)
        response = self.get_response(request)
        response["X-Request-ID"] = context.request_id
        return response


def client_address(request: HttpRequest) -> str:
    """The client's address. ``X-Forwarded-For`` counts only for as many proxies as the installation says it has."""
    hops = [hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
    trusted: int = settings.POOLWARDEN_TRUSTED_PROXIES
    if trusted and len(hops) >= trusted:
        return str(hops[-trusted])[:64]
    return str(request.META.get("REMOTE_ADDR", ""))[:64]


def request_context(request: HttpRequest) -> RequestContext:
    return request.context  # type: ignore[attr-defined,no-any-return]


def session_digest(request: HttpRequest) -> str:
    """Eight hex digits that tell sessions apart without giving one away; empty without a session."""
    session = getattr(request, "session", None)
    key = session.session_key if session is not None else None
    return hashlib.sha256(key.encode()).hexdigest()[:8] if key else ""


def safe_next(request: HttpRequest, default: str) -> str:
    """The ``next`` parameter when it is a path on this host, else ``default``. Filters survive an action this way."""
    target = request.POST.get("next") or request.GET.get("next") or ""
    is_path = target.startswith("/") and target.isprintable()
    return target if is_path and url_has_allowed_host_and_scheme(target, allowed_hosts=None) else default
