"""The API's reference, rendered on the server from its own schema: it works under the strict content security policy."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase


class Reference(DocsBase):
    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        schema = api.get_openapi_schema()
        entries = [
            {
                "method": method.upper(),
                "path": path,
                "summary": entry.get("summary", ""),
                "text": entry.get("description", ""),
                "parameters": entry.get("parameters", []),
                "body": _body(schema, entry),
            }
            for path, methods in schema["paths"].items()
            for method, entry in methods.items()
        ]
        return render(request, "api/docs.html", {"entries": entries, "schema": schema})


def _body(schema: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Field name → schema of the request's body, {} without one."""
    try:
        reference = entry["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    except KeyError:
        return {}
    fields: dict[str, Any] = schema["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
    return fields
