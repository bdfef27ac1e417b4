"""Lists page by key: ``items`` and ``next``, the cursor of the following page or null."""

from typing import Annotated, Any

from django.db.models import Model, QuerySet
from ninja import Query, Schema

from pools.selectors.dead_letters import FilterError

Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]
Cursor = Annotated[str, Query(max_length=500, description="`next` of the previous page")]


class PageOut[T](Schema):
    items: list[T]
    next: str | None = None


def by_key[M: Model](
    rows: QuerySet[M], key: str, cursor: str, limit: int, *, newest_first: bool = False
) -> dict[str, Any]:
    """A page of ``rows`` in the order of a unique ``key``, which is also the cursor. Raises ``FilterError``."""
    rows = rows.order_by(f"-{key}" if newest_first else key)
    if cursor:
        if key in {"pk", "id", "number", "position"} and not cursor.isdecimal():
            raise FilterError("cursor", "this cursor was not given out by a list")
        rows = rows.filter(**{f"{key}__{'lt' if newest_first else 'gt'}": cursor})
    found = list(rows[: limit + 1])
    more = len(found) > limit
    return {"items": found[:limit], "next": str(getattr(found[limit - 1], key)) if more else None}
