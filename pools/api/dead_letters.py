"""Failure groups and dead letters."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from pools.api.auth import actor
from pools.api.bodies import FilterFields
from pools.api.dead_letter_schemas import DeadLetterDetail, DeadLetterOut, MatrixOut, PreviewOut
from pools.api.group_schemas import GroupOut, group_out
from pools.api.paging import Cursor, Limit, PageOut
from pools.models import DeadLetter, DeadLetterState, FailureGroup, OperationKind
from pools.operations.foreseen import foreseen
from pools.operations.selection import Selection, select
from pools.selectors.approvals import asked
from pools.selectors.dead_letters import DeadLetterFilter, dead_letter_of, dead_letter_page, group_counts
from pools.selectors.matrix import AGES, counts_by_age, matrix
from pools.selectors.triage import preview_of
from pools.selectors.warnings import warnings

router = Router()
TextCursor = Annotated[str, Query(max_length=200, description="`next` of the previous page")]


class FilterQuery(FilterFields):
    state: str = Field(
        DeadLetterState.OPEN.value,
        description=f"{', '.join(DeadLetterState.values)}, several with commas between, or any",
    )


@router.get("failure-groups", response=PageOut[GroupOut])
def list_groups(
    request: HttpRequest, query: Annotated[FilterQuery, Query()], cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """Failure groups with dead letters that match, newest group first."""
    counts = group_counts(actor(request), _read(query))
    found = sorted((pk for pk in counts if cursor is None or pk < cursor), reverse=True)
    page = found[:limit]
    groups = FailureGroup.objects.select_related("pool", "owner").in_bulk(page)
    items = [group_out(groups[pk], counts[pk]) for pk in page]
    return {"items": items, "next": str(page[-1]) if len(found) > limit else None}


@router.get("dead-letters", response=PageOut[DeadLetterOut])
def list_dead_letters(
    request: HttpRequest, query: Annotated[FilterQuery, Query()], cursor: TextCursor = "", limit: Limit = 50
) -> dict[str, Any]:
    """Dead letters that match, newest failure first."""
    page = dead_letter_page(actor(request), _read(query), cursor, limit)
    return {"items": page.items, "next": page.next or None}


@router.get("dead-letters/matrix", response=MatrixOut)
def get_matrix(request: HttpRequest, query: Annotated[FilterQuery, Query()]) -> dict[str, Any]:
    """How many dead letters that match failed with which exception, and how long ago."""
    wanted = _read(query)
    rows = matrix(wanted, counts_by_age(actor(request), wanted))
    return {"ages": AGES, "rows": [{"error": row.label, "counts": [cell.count for cell in row.cells]} for row in rows]}


@router.get("dead-letters/preview", response=PreviewOut)
def preview_requeue(request: HttpRequest, query: Annotated[FilterQuery, Query()]) -> dict[str, Any]:
    """What a requeue of all that match would freeze, and what of it would be skipped. Nothing is changed."""
    found = select(actor(request), Selection(filter=_read(query)), OperationKind.REQUEUE).letters
    shown = preview_of(found)
    said = warnings(OperationKind.REQUEUE, shown, asked(actor(request), shown.by_pool))
    return vars(shown) | {"warnings": said, "foreseen": foreseen(found, named=False)}


@router.get("dead-letters/{int:id}", response=DeadLetterDetail)
def get_dead_letter(request: HttpRequest, id: int) -> DeadLetter:
    """One dead letter with its traceback. Arguments stay masked."""
    return dead_letter_of(actor(request), id)


def _read(query: FilterQuery) -> DeadLetterFilter:
    return DeadLetterFilter.from_query(query.model_dump())
