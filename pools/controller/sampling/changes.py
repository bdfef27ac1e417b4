"""Rows to write, and how: one statement for any number of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import models


def snapshot(row: models.Model, fields: Iterable[str]) -> tuple[Any, ...]:
    """The values of ``fields`` as they are now, to be compared with those after."""
    return tuple(getattr(row, field) for field in fields)


def upsert(rows: Sequence[models.Model], unique: Sequence[str], fields: Sequence[str]) -> None:
    """Insert ``rows``, or update ``fields`` of those whose ``unique`` fields are there already. They get their ids."""
    if rows:
        type(rows[0])._default_manager.bulk_create(
            rows, update_conflicts=True, unique_fields=unique, update_fields=fields
        )
