"""``Idempotency-Key``: a write that is sent again with its key gets its first answer, and happens once."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from pydantic import BaseModel

from audit.operation import one_transaction
from pools.api.auth import actor
from pools.api.rendering import as_json
from pools.models import IdempotencyKey
from pools.operations.errors import Refused

MAX_KEY = 200


def write(request: HttpRequest, status: int, work: Callable[[], BaseModel]) -> HttpResponse:
    """Do ``work`` once for the request's key and answer its schema with ``status``.

    The key commits with the work: a request that fails leaves no key, and one that is sent twice at the same time
    waits for the first. Raises what ``work`` raises, and ``Refused`` when the key was used for another request.
    """
    key = request.headers.get("Idempotency-Key", "").strip()
    if not key:
        return answer(status, as_json(work()))
    if len(key) > MAX_KEY:
        raise Refused("Idempotency-Key", f"At most {MAX_KEY} characters. Nothing was changed.")
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode() + request.body).hexdigest()
    with one_transaction():
        row, is_new = IdempotencyKey.objects.get_or_create(
            user=actor(request).user, key=key, defaults={"request_sha256": digest, "status": status, "body": {}}
        )
        if is_new:
            row.body = as_json(work())
            row.save(update_fields=["body"])
        elif row.request_sha256 != digest:
            raise Refused("Idempotency-Key", "This key was used for another request. Nothing was changed.")
    response = answer(row.status, row.body)
    if not is_new:
        response["Idempotent-Replayed"] = "true"
    return response


def answer(status: int, body: dict[str, Any]) -> JsonResponse:
    """``body`` as ``as_json`` makes it."""
    return JsonResponse(body, status=status, content_type="application/json; charset=utf-8")
