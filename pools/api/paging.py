"""Lists page by key: ``items`` and ``next``, the cursor of the following page or null."""

from typing import Annotated, Any, Literal

from django.db.models import Model, QuerySet
from ninja import Query, Schema

Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]
Cursor = Annotated[int | None, Query(ge=0, description="`next` of the previous page")]
Slug = Annotated[str, Query(max_length=60, pattern="^[-a-zA-Z0-9_]*$", description="a pool's slug")]


class PageOut[T](Schema):
    items: list[T]
    next: str | None = None


def by_key[M: Model](
    rows: QuerySet[M],
    key: Literal["pk", "number", "position"],
    cursor: int | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> dict[str, Any]:
    """A page of ``rows`` in the order of ``key``, a unique whole number, which is also the cursor."""
    rows = rows.order_by(f"-{key}" if newest_first else key)
    if cursor is not None:
        rows = rows.filter(**{f"{key}__{'lt' if newest_first else 'gt'}": cursor})
    found = list(rows[: limit + 1])
    more = len(found) > limit
    return {"items": found[:limit], "next": str(getattr(found[limit - 1], key)) if more else None}
