"""The API's reference, rendered on the server from its own schema: the strict CSP allows it, no script is needed."""

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase


@dataclass(frozen=True)
class Field:
    """A parameter or a field of a body. ``kind``: its type in words, after where it belongs."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True)
class Entry:
    """One operation. ``example``: a curl command."""

    id: str
    method: str
    path: str
    tag: str
    text: str
    parameters: list[Field]
    body: list[Field]
    example: str


class Reference(DocsBase):
    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        schema = api.get_openapi_schema()
        entries = [
            _entry(schema, method.upper(), path, details)
            for path, methods in schema["paths"].items()
            for method, details in methods.items()
        ]
        return render(request, "api/docs.html", {"entries": entries, "info": schema["info"]})


def _entry(schema: dict[str, Any], method: str, path: str, details: dict[str, Any]) -> Entry:
    body = _body(schema, details)
    required = set(body.get("required", []))
    return Entry(
        id=details["operationId"],
        method=method,
        path=path,
        tag=details["tags"][0],
        text=details["description"],
        parameters=[_field(p["name"], p["schema"], p["in"], p["required"], p) for p in details["parameters"]],
        body=[_field(name, field, "", name in required) for name, field in body.get("properties", {}).items()],
        example=_curl(method, path, body.get("examples", [None])[0]),
    )


def _body(schema: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """The schema of the request's body, {} without one."""
    if "requestBody" not in details:
        return {}
    found: dict[str, Any] = details["requestBody"]["content"]["application/json"]["schema"]
    found = found.get("allOf", [found])[0]
    named: dict[str, Any] = schema["components"]["schemas"][found["$ref"].rsplit("/", 1)[1]]
    return named


def _field(name: str, schema: dict[str, Any], place: str, required: bool, texts: dict[str, Any] | None = None) -> Field:
    words = [place, _type(schema), "required" if required else ""]
    text = (texts or schema).get("description", "")
    return Field(name, ", ".join(word for word in words if word), text)


def _type(schema: dict[str, Any]) -> str:
    """In words: ``one of requeue, discard``, ``list of string``, ``integer or null``."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "$ref" in schema:
        return "object"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", ""))


def _curl(method: str, path: str, body: dict[str, Any] | None) -> str:
    lines = [f'curl -H "Authorization: Bearer $TOKEN" $CONSOLE{path}']
    if method != "GET":
        lines[0] = lines[0].replace("curl", f"curl -X {method}", 1)
        lines.append('  -H "Idempotency-Key: $(uuidgen)"')
    if body is not None:
        lines += ['  -H "Content-Type: application/json"', f"  -d '{json.dumps(body)}'"]
    return " \\\n".join(lines)
