"""Calling the API as one of the cast, and saying what an answer must be."""

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from audit.models import Event
from tests.support.tokens import used_token

BASE = "/api/v1/"
DIFFERS = ("at", "old_commitment", "new_commitment")
"""Of an event's detail: the time, and what is salted."""


class Caller:
    """``Caller(user)`` sends a token of the user's; ``Caller()`` sends none."""

    def __init__(self, user: User | None = None, ttl: timedelta = timedelta(hours=1)) -> None:
        headers = {}
        if user is not None:
            headers["Authorization"] = f"Bearer {used_token(user, ttl)}"
        self.client = Client(headers=headers)

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(BASE + path, query_params=query)

    def post(self, path: str, body: Any = None, *, key: str = "", content_type: str = "application/json") -> Any:
        """``body``: sent as it is when it is bytes, else as JSON; None sends no body."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {"Idempotency-Key": key} if key else {}
        return self.client.post(BASE + path, data=data, content_type=content_type, headers=headers)

    def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        response = self.get(path, **query)
        assert response.status_code == 200, response.content
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    def all_pages(self, path: str, limit: int, **query: Any) -> list[list[dict[str, Any]]]:
        pages: list[list[dict[str, Any]]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get(path, limit=limit, **query, **cursor).json()
            pages.append(page["items"])
            if page["next"] is None:
                return pages
            cursor = {"cursor": page["next"]}


def problem(response: Any, status: int, *fields: str) -> dict[str, Any]:
    """The problem document, which has this status and names exactly these fields."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert body["type"] == "about:blank" and body["status"] == status and body["title"]
    assert [error["field"] for error in body.get("errors", [])] == list(fields)
    assert "Traceback" not in response.content.decode()
    return body


def events(count: int) -> list[dict[str, Any]]:
    """The newest events, oldest first, without what differs from one run to the next."""
    found = []
    for event in reversed(Event.objects.order_by("-pk")[:count]):
        target = {"kind": event.target_kind, "pool": event.pool}
        detail = {name: value for name, value in event.detail.items() if name not in DIFFERS}
        same = {name: getattr(event, name) for name in ("action", "outcome", "reason", "before", "after")}
        found.append(same | {"target": target, "detail": detail})
    return found
