"""Bulk operations on dead letters."""

from collections.abc import Callable
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router
from pydantic import AfterValidator, WithJsonSchema

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.bodies import MoveIn, OperationIn, RateIn, WhyIn
from pools.api.dead_letter_schemas import OperationItemOut, OperationOut, operation_out
from pools.api.idempotency import write
from pools.api.paging import Cursor, Limit, PageOut, by_key
from pools.models import Operation, Outcome
from pools.operations.errors import Refused
from pools.operations.plan import Canary, Plan
from pools.operations.selection import Selection
from pools.selectors.dead_letters import DeadLetterFilter, FilterError, pks_of_jobs
from pools.selectors.operations import find_operation, visible_operations, with_progress
from pools.selectors.outcomes import CONTENT_TYPES, Format, filename, outcome_lines
from pools.selectors.progress import progress_of

router = Router()
CREATE: dict[str, Callable[..., Operation]] = {
    "requeue": verbs.requeue_create,
    "discard": verbs.discard_create,
    "move": verbs.move_create,
    "quarantine": verbs.quarantine_create,
    "archive": verbs.archive_create,
    "restore": verbs.restore_create,
}
MOVE = {
    "start": verbs.operation_start,
    "pause": verbs.operation_pause,
    "resume": verbs.operation_resume,
    "cancel": verbs.operation_cancel,
}
NO_REASON = MoveIn()
# As text: in the document, the log's own ``Outcome`` has taken the name.
ItemOutcome = Annotated[
    str, AfterValidator(lambda name: Outcome(name).value), WithJsonSchema({"type": "string", "enum": Outcome.values})
]


@router.get("", response=PageOut[OperationOut])
def list_operations(request: HttpRequest, cursor: Cursor = None, limit: Limit = 50) -> dict[str, Any]:
    """Operations on pools that you may see, newest first."""
    page = by_key(visible_operations(actor(request)), "pk", cursor, limit, newest_first=True)
    return page | {"items": [operation_out(row, progress) for row, progress in with_progress(page["items"])]}


@router.post("", response={201: OperationOut})
def create_operation(request: HttpRequest, data: OperationIn) -> HttpResponse:
    """Freeze a set of dead letters, named by job ids or by a filter, and start on it unless `start` is false. Above a
    pool's approval limit it is only frozen (`awaiting`), and a second person starts it by approving."""

    def work() -> OperationOut:
        try:
            row = CREATE[data.kind](
                actor=actor(request),
                selection=_selection(request, data),
                reason=data.reason,
                expected_count=data.expected_count,
                start=data.start,
                plan=_plan(data),
                **_where(data),
            )
        except Refused as refused:
            named = "filter" if refused.field == "ids" and data.filter and not data.ids else refused.field
            raise Refused(named, refused.message) from refused
        return operation_out(row, progress_of(row))

    return write(request, 201, work)


@router.get("/{int:id}", response=OperationOut)
def get_operation(request: HttpRequest, id: int) -> OperationOut:
    """One operation with the number of its jobs by outcome."""
    row = find_operation(actor(request), id)
    return operation_out(row, progress_of(row))


@router.get("/{int:id}/items", response=PageOut[OperationItemOut])
def list_items(
    request: HttpRequest, id: int, outcome: ItemOutcome = "", cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """The frozen jobs in the order of sending, each with what became of it."""
    items = find_operation(actor(request), id).items.all()
    return by_key(items.filter(outcome=outcome) if outcome else items, "position", cursor, limit)


@router.post("/{int:id}/start", response=OperationOut)
def start_operation(request: HttpRequest, id: int, data: MoveIn = NO_REASON) -> HttpResponse:
    """Send a frozen operation on its way."""
    return _move(request, id, "start", data)


@router.post("/{int:id}/pause", response=OperationOut)
def pause_operation(request: HttpRequest, id: int, data: MoveIn = NO_REASON) -> HttpResponse:
    """Stop after the chunk that is under way."""
    return _move(request, id, "pause", data)


@router.post("/{int:id}/resume", response=OperationOut)
def resume_operation(request: HttpRequest, id: int, data: MoveIn = NO_REASON) -> HttpResponse:
    """Go on with a paused operation."""
    return _move(request, id, "resume", data)


@router.post("/{int:id}/cancel", response=OperationOut)
def cancel_operation(request: HttpRequest, id: int, data: MoveIn = NO_REASON) -> HttpResponse:
    """What was sent stays sent; the rest keeps its place among the dead letters."""
    return _move(request, id, "cancel", data)


@router.post("/{int:id}/rate", response=OperationOut)
def change_rate(request: HttpRequest, id: int, data: RateIn) -> HttpResponse:
    """Send at most so many jobs a second from now on."""
    row = find_operation(actor(request), id)
    return answer_with(
        request,
        lambda: verbs.operation_rate(
            actor=actor(request), operation=row, rate_per_second=data.rate_per_second, reason=data.reason
        ),
    )


@router.post("/{int:id}/recall", response=OperationOut)
def recall_operation(request: HttpRequest, id: int, data: WhyIn) -> HttpResponse:
    """Bring back, as dead letters, the jobs that still wait in their queues; one that is sending is paused first."""
    row = find_operation(actor(request), id)
    return answer_with(request, lambda: verbs.operation_recall(actor=actor(request), operation=row, reason=data.reason))


@router.post("/{int:id}/again", response={201: OperationOut})
def do_again(request: HttpRequest, id: int, data: WhyIn) -> HttpResponse:
    """Freeze the jobs that failed again and are dead letters now, as a new operation with the same plan."""
    row = find_operation(actor(request), id)
    return answer_with(
        request, lambda: verbs.operation_again(actor=actor(request), operation=row, reason=data.reason), status=201
    )


@router.post("/{int:id}/undo", response={201: OperationOut})
def undo_operation(request: HttpRequest, id: int, data: WhyIn) -> HttpResponse:
    """Restore what a discard, a quarantine or an archive took away and is still kept, as a new operation."""
    row = find_operation(actor(request), id)
    return answer_with(
        request, lambda: verbs.operation_undo(actor=actor(request), operation=row, reason=data.reason), status=201
    )


@router.get("/{int:id}/outcomes")
def export_outcomes(request: HttpRequest, id: int, format: Format = Format.CSV) -> StreamingHttpResponse:
    """All of its jobs with what became of each, as a file: CSV, or JSON lines."""
    row = find_operation(actor(request), id)
    response = StreamingHttpResponse(outcome_lines(row, format), content_type=CONTENT_TYPES[format])
    response["Content-Disposition"] = f'attachment; filename="{filename(row, format)}"'
    return response


def answer_with(request: HttpRequest, work: Callable[[], Operation], status: int = 200) -> HttpResponse:
    """Do ``work`` once for the request's key and answer the operation as it is then."""

    def answered() -> OperationOut:
        row = work()
        return operation_out(row, progress_of(row))

    return write(request, status, answered)


def _where(data: OperationIn) -> dict[str, str]:
    if data.kind == "move":
        return {"to_queue": data.to_queue}
    if data.to_queue:
        raise Refused("to_queue", "Only a move goes to another queue. Nothing was changed.")
    return {}


def _plan(data: OperationIn) -> Plan:
    canary = Canary(**data.canary.model_dump()) if data.canary else None
    return Plan(canary, data.rate_per_second, data.stop_same_failure, data.orphans_stay)


def _move(request: HttpRequest, pk: int, verb: str, data: MoveIn) -> HttpResponse:
    row = find_operation(actor(request), pk)

    return answer_with(request, lambda: MOVE[verb](actor=actor(request), operation=row, reason=data.reason))


def _selection(request: HttpRequest, data: OperationIn) -> Selection:
    if bool(data.ids) == (data.filter is not None):
        raise Refused("ids", "Name either ids or a filter. Nothing was changed.")
    if data.filter is not None:
        try:
            return Selection(filter=DeadLetterFilter.from_query(data.filter.model_dump()))
        except FilterError as error:
            raise Refused(f"filter.{error.field}", f"{error.message}. Nothing was changed.") from error
    found = pks_of_jobs(actor(request), data.ids)
    missing = sorted(set(data.ids) - set(found))
    if missing:
        raise Refused("ids", f"Not among the dead letters: {', '.join(missing[:5])}. Nothing was changed.")
    return Selection(ids=tuple(found.values()))
