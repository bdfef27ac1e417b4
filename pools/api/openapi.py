"""The OpenAPI document: what ninja derives from the code, and what holds for every operation."""

from functools import cached_property
from typing import Any

from ninja import NinjaAPI
from ninja.operation import Operation

from pools.api.problems import TITLES

READ = (401, 403, 404, 422, 500, 503)
WRITE = (400, 401, 403, 404, 409, 413, 415, 422, 500, 503)
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. `type` is about:blank: the status says the kind.",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "for people: what happened, and that nothing was changed"},
        "errors": {
            "type": "array",
            "description": "what to mend",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "description": "dotted, list positions from 0: spec.retry.0.max"},
                    "message": {"type": "string"},
                },
            },
        },
        "permission": {"type": "string", "description": "with 403: what you lack"},
        "current": {"type": "integer", "description": "with 409: what is true now of what you expected"},
    },
}
IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "chosen by you; the same request with the same key gets the first answer again for a day",
}


class Api(NinjaAPI):
    @cached_property
    def document(self) -> dict[str, Any]:
        schema = super().get_openapi_schema()
        components = schema["components"]
        components["schemas"]["Problem"] = PROBLEM
        components["responses"] = {str(status): _problem_response(title) for status, title in TITLES.items()}
        for methods in schema["paths"].values():
            for method, entry in methods.items():
                _complete(method, entry)
        return schema

    def get_openapi_schema(self, **_: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.document

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__


def _problem_response(title: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": title, "content": content}


def _complete(method: str, entry: dict[str, Any]) -> None:
    for status in READ if method == "get" else WRITE:
        entry["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    if method != "get":
        entry["parameters"] = [*entry["parameters"], IDEMPOTENCY_KEY]
