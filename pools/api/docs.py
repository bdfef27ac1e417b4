"""The API's reference, rendered on the server from its own schema: the strict CSP allows it, no script is needed."""

import json
import re
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase


@dataclass(frozen=True)
class Field:
    """A parameter or a field of a body. ``kind``: its type in words, after where it belongs."""

    name: str
    kind: str
    text: SafeString


@dataclass(frozen=True)
class Entry:
    """One operation. ``example``: a curl command."""

    id: str
    method: str
    path: str
    tag: str
    text: SafeString
    parameters: list[Field]
    body: list[Field]
    example: str


class Reference(DocsBase):
    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        schema = api.get_openapi_schema()
        entries = [
            _entry(schema["components"]["schemas"], method.upper(), path, details)
            for path, methods in schema["paths"].items()
            for method, details in methods.items()
        ]
        return render(request, "api/docs.html", {"entries": entries, "info": schema["info"]})


def _entry(known: dict[str, Any], method: str, path: str, details: dict[str, Any]) -> Entry:
    """``known``: the document's schemas by name."""
    body = _body(known, details)
    required = body.get("required", [])
    return Entry(
        id=details["operationId"],
        method=method,
        path=path,
        tag=details["tags"][0],
        text=_prose(details["description"]),
        parameters=[
            _field(known, p["name"], p["schema"] | p, place=p["in"], required=p["required"])
            for p in details["parameters"]
        ],
        body=[
            _field(known, name, field, required=name in required) for name, field in body.get("properties", {}).items()
        ],
        example=_curl(method, path, body.get("examples", [None])[0]),
    )


def _body(known: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """The schema of the request's body, {} without one."""
    if "requestBody" not in details:
        return {}
    found: dict[str, Any] = details["requestBody"]["content"]["application/json"]["schema"]
    return _named(known, found.get("allOf", [found])[0])


def _named(known: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = known[reference["$ref"].rsplit("/", 1)[1]]
    return found


def _field(known: dict[str, Any], name: str, schema: dict[str, Any], *, place: str = "", required: bool) -> Field:
    words = [place, _type(known, schema), "required" if required else ""]
    return Field(name, ", ".join(word for word in words if word), _prose(schema.get("description", "")))


def _type(known: dict[str, Any], schema: dict[str, Any]) -> str:
    """In words: ``one of requeue, discard``, ``list of string``. Null goes unsaid: what takes it may be left out."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "$ref" in schema:
        return _type(known, _named(known, schema))
    if "anyOf" in schema:
        return " or ".join(_type(known, part) for part in schema["anyOf"] if part.get("type") != "null")
    if schema.get("type") == "array":
        return f"list of {_type(known, schema['items'])}"
    return str(schema.get("type", ""))


def _prose(text: str) -> SafeString:
    """What stands between backticks becomes code."""
    parts = [format_html("<code>{}</code>" if n % 2 else "{}", part) for n, part in enumerate(re.split("`+", text))]
    return mark_safe("".join(parts))  # noqa: S308 - each part was escaped


def _curl(method: str, path: str, body: dict[str, Any] | None) -> str:
    lines = [f'curl -H "Authorization: Bearer $TOKEN" $CONSOLE{path}']
    if method != "GET":
        lines[0] = lines[0].replace("curl", f"curl -X {method}", 1)
        lines.append('  -H "Idempotency-Key: $(uuidgen)"')
    if body is not None:
        lines += ['  -H "Content-Type: application/json"', f"  -d '{json.dumps(body, indent=2)}'"]
    return " \\\n".join(lines)
