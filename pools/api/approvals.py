"""A second person's word on an operation that waits for it."""

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import ConfigDict, Field

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.bodies import Body, Reason, Text, WhyIn
from pools.api.dead_letter_schemas import OperationOut
from pools.api.operations import answer_with
from pools.selectors.operations import find_operation

router = Router()


class ApproveIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Looked through: all of the outage"}]})

    reason: Reason
    ids_sha256: Text = Field("", max_length=64, description="of the frozen set that you saw; 409 if it is another")


@router.post("/{int:id}/approve", response=OperationOut)
def approve_operation(request: HttpRequest, id: int, data: ApproveIn) -> HttpResponse:
    """Say yes to what another person asked for, which starts it. Your own you cannot approve."""
    row = find_operation(actor(request), id)
    return answer_with(
        request, lambda: verbs.operation_approve(actor=actor(request), operation=row, **data.model_dump())
    )


@router.post("/{int:id}/decline", response=OperationOut)
def decline_operation(request: HttpRequest, id: int, data: WhyIn) -> HttpResponse:
    """Say no: it is cancelled, and nothing was sent."""
    row = find_operation(actor(request), id)
    return answer_with(
        request, lambda: verbs.operation_decline(actor=actor(request), operation=row, reason=data.reason)
    )
