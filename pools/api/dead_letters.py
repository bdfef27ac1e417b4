"""Failure groups and dead letters."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from pools.api.auth import actor
from pools.api.paging import Cursor, Limit, PageOut
from pools.api.schemas import DeadLetterOut, FilterIn, GroupOut, group_out
from pools.models import DeadLetterState
from pools.selectors.dead_letters import DeadLetterFilter, dead_letter_page, group_rows

router = Router()


class FilterQuery(FilterIn, Schema):
    state: str = DeadLetterState.OPEN


def read_filter(query: FilterQuery) -> DeadLetterFilter:
    return DeadLetterFilter.from_query(query.model_dump())


@router.get("failure-groups", response=PageOut[GroupOut])
def list_groups(request: HttpRequest, query: Annotated[FilterQuery, Query()], limit: Limit = 100) -> dict[str, Any]:
    """Most dead letters first; at most 500, on one page."""
    rows = group_rows(actor(request), read_filter(query), limit)
    return {"items": [group_out(row.group, row.count) for row in rows], "next": None}


@router.get("dead-letters", response=PageOut[DeadLetterOut])
def list_dead_letters(
    request: HttpRequest, query: Annotated[FilterQuery, Query()], cursor: Cursor = "", limit: Limit = 50
) -> dict[str, Any]:
    """Newest failure first."""
    page = dead_letter_page(actor(request), read_filter(query), cursor, limit)
    return {"items": page.items, "next": page.next or None}
