"""Revealing the payload of a job, and requeueing it with other arguments."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from pools.api.auth import actor
from pools.api.bodies import EditIn, RevealIn
from pools.api.dead_letter_schemas import OperationOut, PayloadOut, RevealOut
from pools.api.idempotency import answer, write
from pools.api.operations import answer_with
from pools.api.rendering import as_json
from pools.broker.payload_edit import TOO_DEEP, is_flat
from pools.broker.payload_reveal import revealed
from pools.models import PayloadReveal
from pools.operations import edit_create, payload_reveal
from pools.operations.errors import Refused

router = Router()


@router.post("{path:job_id}/reveal", response=RevealOut)
def reveal_payload(request: HttpRequest, job_id: str, data: RevealIn) -> HttpResponse:
    """Open the payload of a job to yourself, and get it once: not again when the request is sent again."""
    opened: list[PayloadReveal] = []

    def work() -> RevealOut:
        opened.append(payload_reveal(actor=actor(request), job_id=job_id, broker=data.broker, reason=data.reason))
        return RevealOut(job_id=job_id, broker=data.broker, open_until=opened[0].expires_at, payload=None)

    without = write(request, 200, work)
    if not opened:
        return without
    payload = PayloadOut.of(revealed(data.broker, job_id))
    whole = RevealOut(job_id=job_id, broker=data.broker, open_until=opened[0].expires_at, payload=payload)
    response = answer(200, as_json(whole))
    response["Cache-Control"] = "no-store"
    return response


@router.post("{path:job_id}/edit", response={201: OperationOut})
def edit_payload(request: HttpRequest, job_id: str, data: EditIn) -> HttpResponse:
    """Requeue a dead letter with other arguments, while its payload is open to you. Only RQ's JSON serializer."""
    for field in ("args", "kwargs"):
        if not is_flat(getattr(data, field)):
            raise Refused(field, f"{TOO_DEEP} Nothing was changed.")
    return answer_with(
        request, lambda: edit_create(actor=actor(request), job_id=job_id, **data.model_dump()), status=201
    )
