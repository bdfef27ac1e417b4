"""Bulk operations on dead letters."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.idempotency import write
from pools.api.paging import Cursor, Limit, PageOut, by_key
from pools.api.schemas import OperationIn, OperationItemOut, OperationOut
from pools.models import Operation
from pools.operations.dead_letters import Selection
from pools.operations.errors import Refused
from pools.selectors.dead_letters import DeadLetterFilter, pks_of_jobs
from pools.selectors.operations import find_operation, visible_operations

router = Router()
CREATE = {"requeue": verbs.requeue_create, "discard": verbs.discard_create}
MOVE = {
    "start": verbs.operation_start,
    "pause": verbs.operation_pause,
    "resume": verbs.operation_resume,
    "cancel": verbs.operation_cancel,
}


class MoveIn(Schema):
    reason: str = ""


@router.get("", response=PageOut[OperationOut])
def list_operations(request: HttpRequest, cursor: Cursor = "", limit: Limit = 50) -> dict[str, Any]:
    return by_key(visible_operations(actor(request)), "pk", cursor, limit, newest_first=True)


@router.post("", response={201: OperationOut})
def create_operation(request: HttpRequest, data: OperationIn) -> HttpResponse:
    """Freeze a set, named by job ids or by a filter, and start it unless ``start`` is false."""

    def work() -> OperationOut:
        row = CREATE[data.kind](
            actor=actor(request),
            selection=_selection(request, data),
            reason=data.reason,
            expected_count=data.expected_count,
            start=data.start,
        )
        return OperationOut.from_orm(row)

    return write(request, 201, work)


@router.get("/{pk}", response=OperationOut)
def get_operation(request: HttpRequest, pk: int) -> Operation:
    return find_operation(actor(request), pk)


@router.get("/{pk}/items", response=PageOut[OperationItemOut])
def list_items(
    request: HttpRequest, pk: int, outcome: str = "", cursor: Cursor = "", limit: Limit = 100
) -> dict[str, Any]:
    items = find_operation(actor(request), pk).items.all()
    return by_key(items.filter(outcome=outcome) if outcome else items, "position", cursor, limit)


@router.post("/{pk}/{verb}", response=OperationOut)
def move_operation(request: HttpRequest, pk: int, verb: str, data: MoveIn) -> HttpResponse:
    """``verb``: start, pause, resume or cancel."""
    if verb not in MOVE:
        raise Operation.DoesNotExist
    row = find_operation(actor(request), pk)

    def work() -> OperationOut:
        return OperationOut.from_orm(MOVE[verb](actor=actor(request), operation=row, reason=data.reason))

    return write(request, 200, work)


def _selection(request: HttpRequest, data: OperationIn) -> Selection:
    if bool(data.ids) == (data.filter is not None):
        raise Refused("ids", "Name either ids or a filter. Nothing was changed.")
    if data.filter is not None:
        return Selection(filter=DeadLetterFilter.from_query(data.filter.model_dump()))
    found = pks_of_jobs(actor(request), data.ids)
    missing = sorted(set(data.ids) - set(found))
    if missing:
        raise Refused("ids", f"Not among the dead letters: {', '.join(missing[:5])}. Nothing was changed.")
    return Selection(ids=tuple(found.values()))
