"""Errors as RFC 9457 problem documents that name the field."""

from collections.abc import Callable
from typing import Any

import structlog
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, RequestDataTooBig
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from audit.permissions import Denied
from audit.proofs import NoSuchTree
from audit.recorder import AuditError
from pools.operations.errors import Conflict, Refused
from pools.selectors.dead_letters import FilterError
from pools.spec import SpecError

log = structlog.get_logger(__name__)
MAX_ERRORS = 50
MAX_FIELD = 200
# Operations refuse these by their place in the spec; in the API's bodies the spec is one field.
IN_SPEC = {"queues", "secrets"}
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid input",
    500: "Internal error",
    503: "Unavailable",
}


def problem(
    status: int, detail: str = "", *, errors: list[dict[str, str]] | None = None, **members: Any
) -> JsonResponse:
    """``errors``: ``field`` and ``message`` of each fault. ``members``: more of the document's own."""
    body: dict[str, Any] = {"type": "about:blank", "title": TITLES[status], "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    return JsonResponse(body | members, status=status, content_type="application/problem+json")


def field_problem(field: str, message: str) -> JsonResponse:
    return problem(422, message, errors=[{"field": field, "message": message}])


def install_problems(api: NinjaAPI) -> None:
    """Register one handler for each kind of failure."""

    def on(kind: type[Exception], answer: Callable[[Any], HttpResponse]) -> None:
        def handler(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
            return answer(error)

        api.add_exception_handler(kind, handler)

    on(Denied, lambda e: problem(403, str(e), permission=e.permission))
    on(NoSuchTree, lambda e: field_problem(e.field, e.message))
    on(PermissionDenied, lambda e: problem(403, str(e)))
    on(Refused, _refused)
    on(Conflict, lambda e: problem(409, e.message, **({} if e.current is None else {"current": e.current})))
    on(IntegrityError, lambda e: problem(409, "Somebody else was quicker. Nothing was changed."))
    on(FilterError, lambda e: field_problem(e.field, e.message))
    on(AuditError, lambda e: problem(422, f"{e.message} Nothing was changed."))
    on(SpecError, lambda e: problem(422, "Nothing was changed.", errors=_spec_errors(e)))
    on(ValidationError, lambda e: problem(422, "Nothing was changed.", errors=_input_errors(e)))
    on(RequestDataTooBig, lambda e: problem(413, "The body is larger than 8 MiB. Nothing was changed."))
    on(AuthenticationError, _unauthenticated)
    on(ObjectDoesNotExist, lambda e: problem(404))
    on(Http404, lambda e: problem(404))
    on(HttpError, _http_error)
    for kind in (OperationalError, InterfaceError):
        on(kind, lambda e: problem(503, "The database is away. Nothing was changed. Try again."))
    on(Exception, _defect)


def not_allowed(allow: str) -> JsonResponse:
    response = problem(405, f"Allowed here: {allow}.")
    response["Allow"] = allow
    return response


def _refused(error: Refused) -> HttpResponse:
    """Without a field there is nothing to mend in the request: the state of things forbids it."""
    if not error.field:
        return problem(409, error.message)
    return field_problem(f"spec.{error.field}" if error.field in IN_SPEC else error.field, error.message)


def _unauthenticated(error: AuthenticationError) -> HttpResponse:
    response = problem(401, "Send a token that is valid: Authorization: Bearer …")
    response["WWW-Authenticate"] = "Bearer"
    return response


def _http_error(error: HttpError) -> HttpResponse:
    known = error.__cause__ if isinstance(error.__cause__, HttpError) else error
    return problem(known.status_code, str(known))


def _defect(error: Exception) -> HttpResponse:
    log.error("the API failed", exc_info=error)
    return problem(500, "This is a defect of the console. Its log says more, under the X-Request-ID of this answer.")


def _spec_errors(error: SpecError) -> list[dict[str, str]]:
    return [{"field": f"spec.{item.path}" if item.path else "spec", "message": item.message} for item in error.errors]


def _input_errors(error: ValidationError) -> list[dict[str, str]]:
    """pydantic's locations begin with where the value came from: ("body", "data", "reason"), ("query", "limit")."""
    return [
        {
            "field": ".".join(str(part) for part in item["loc"][2 if item["loc"][0] == "body" else 1 :])[:MAX_FIELD],
            "message": item["msg"].removeprefix("Value error, "),
        }
        for item in error.errors[:MAX_ERRORS]
    ]
