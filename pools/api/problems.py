"""Errors as RFC 9457 problem documents that name the field."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from pools.operations.errors import Conflict, Refused
from pools.permissions import Denied
from pools.selectors.dead_letters import FilterError
from pools.spec import SpecError


def problem(status: int, title: str, detail: str = "", errors: list[dict[str, str]] | None = None) -> JsonResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    return JsonResponse(body, status=status, content_type="application/problem+json")


def field_problem(field: str, message: str) -> JsonResponse:
    return problem(422, "Invalid input", message, [{"field": field, "message": message}] if field else None)


def install_problems(api: NinjaAPI) -> None:
    """Register one handler for each kind of failure."""

    def on(kind: type[Exception], answer: Callable[[Any], HttpResponse]) -> None:
        def handler(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
            return answer(error)

        api.add_exception_handler(kind, handler)

    on(Denied, lambda e: problem(403, "Not permitted", str(e), [{"field": "", "message": e.permission}]))
    on(PermissionDenied, lambda e: problem(403, "Not permitted", str(e)))
    on(Refused, lambda e: field_problem(e.field, e.message))
    on(Conflict, lambda e: problem(409, "Changed meanwhile", e.message))
    on(FilterError, lambda e: field_problem(e.field, e.message))
    on(SpecError, lambda e: problem(422, "Invalid spec", "Nothing was changed.", _spec_errors(e)))
    on(ValidationError, lambda e: problem(422, "Invalid input", "Nothing was changed.", _input_errors(e)))
    on(AuthenticationError, lambda e: problem(401, "Not authenticated", "Send a valid token: Authorization: Bearer …"))
    on(ObjectDoesNotExist, lambda e: problem(404, "Not found"))
    on(Http404, lambda e: problem(404, "Not found"))
    on(HttpError, lambda e: problem(e.status_code, "Request refused", str(e)))
    for kind in (OperationalError, InterfaceError):
        on(kind, lambda e: problem(503, "Database unreachable", "Nothing was changed. Try again."))


def _spec_errors(error: SpecError) -> list[dict[str, str]]:
    return [{"field": f"spec.{item.path}" if item.path else "spec", "message": item.message} for item in error.errors]


def _input_errors(error: ValidationError) -> list[dict[str, str]]:
    """pydantic's locations begin with where the value came from: ("body", "data", "reason")."""
    return [
        {"field": ".".join(str(part) for part in item["loc"][1:] if part != "data"), "message": item["msg"]}
        for item in error.errors
    ]
