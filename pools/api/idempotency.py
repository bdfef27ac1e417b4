"""``Idempotency-Key``: a write that is sent again with its key gets its first answer, and happens once."""

import hashlib
from collections.abc import Callable
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from pydantic import BaseModel

from pools.api.auth import actor
from pools.models import IdempotencyKey
from pools.operations.errors import Conflict, OperationError, Refused
from pools.permissions import Denied

MAX_KEY = 200


def write(request: HttpRequest, status: int, work: Callable[[], BaseModel]) -> HttpResponse:
    """Do ``work`` once for the request's key and answer its schema with ``status``. Failures are not kept.

    Raises what ``work`` raises; ``Refused`` when the key was used for another request, ``Conflict`` while the first one
    is still under way.
    """
    key = request.headers.get("Idempotency-Key", "").strip()
    if not key:
        return _answer(status, work().model_dump(mode="json"))
    if len(key) > MAX_KEY:
        raise Refused("Idempotency-Key", f"At most {MAX_KEY} characters. Nothing was changed.")
    user, digest = actor(request).user, _digest(request)
    first = IdempotencyKey.objects.filter(user=user, key=key).first()
    if first is not None:
        return _again(first, digest)
    failure: Exception | None = None
    body: dict[str, Any] = {}
    try:
        # The key commits with the work. A failure leaves by the front door, so that a denial's event stays.
        with transaction.atomic():
            row = IdempotencyKey.objects.create(user=user, key=key, request_sha256=digest, status=status, body={})
            try:
                body = work().model_dump(mode="json")
            except (Denied, OperationError) as error:
                failure = error
                row.delete()
            else:
                row.body = body
                row.save(update_fields=["body"])
    except IntegrityError as error:
        raise Conflict("A request with this Idempotency-Key is under way. Nothing was changed.", 0) from error
    if failure is not None:
        raise failure
    return _answer(status, body)


def _again(first: IdempotencyKey, digest: str) -> HttpResponse:
    if first.request_sha256 != digest:
        raise Refused("Idempotency-Key", "This key was used for another request. Nothing was changed.")
    response = _answer(first.status, first.body)
    response["Idempotent-Replay"] = "true"
    return response


def _digest(request: HttpRequest) -> str:
    return hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode() + request.body).hexdigest()


def _answer(status: int, body: Any) -> JsonResponse:
    return JsonResponse(body, status=status, encoder=DjangoJSONEncoder)
