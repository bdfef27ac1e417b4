"""Failure groups and dead letters."""

from typing import Annotated, Any

from django.db.models import Count
from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from pools.api.auth import actor
from pools.api.bodies import FilterFields
from pools.api.group_schemas import GroupOut, group_out
from pools.api.paging import Cursor, Limit, PageOut
from pools.api.schemas import DeadLetterOut
from pools.models import DeadLetterState, FailureGroup
from pools.selectors.dead_letters import DeadLetterFilter, dead_letter_page, dead_letters

router = Router()
TextCursor = Annotated[str, Query(max_length=200, description="`next` of the previous page")]


class FilterQuery(FilterFields):
    state: str = Field(DeadLetterState.OPEN.value, description=f"{', '.join(DeadLetterState.values)} or any")


@router.get("failure-groups", response=PageOut[GroupOut])
def list_groups(
    request: HttpRequest, query: Annotated[FilterQuery, Query()], cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """Failure groups with dead letters that match, newest group first."""
    found = dead_letters(actor(request), _read(query)).order_by("-group")
    if cursor is not None:
        found = found.filter(group__lt=cursor)
    counts = list(found.values_list("group").annotate(count=Count("pk"))[: limit + 1])
    page = counts[:limit]
    groups = FailureGroup.objects.select_related("pool", "owner").in_bulk([pk for pk, _ in page])
    items = [group_out(groups[pk], count) for pk, count in page]
    return {"items": items, "next": str(page[-1][0]) if len(counts) > limit else None}


@router.get("dead-letters", response=PageOut[DeadLetterOut])
def list_dead_letters(
    request: HttpRequest, query: Annotated[FilterQuery, Query()], cursor: TextCursor = "", limit: Limit = 50
) -> dict[str, Any]:
    """Dead letters that match, newest failure first."""
    page = dead_letter_page(actor(request), _read(query), cursor, limit)
    return {"items": page.items, "next": page.next or None}


def _read(query: FilterQuery) -> DeadLetterFilter:
    return DeadLetterFilter.from_query(query.model_dump())
