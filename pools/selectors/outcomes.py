"""The outcomes of an operation's items as lines of a file, read a page at a time while they are sent."""

import csv
import json
from collections.abc import Iterator
from enum import StrEnum
from io import StringIO
from typing import Any

from audit.recorder import rfc3339
from controlplane.wording import cell
from pools.models import Operation

PAGE = 2_000
COLUMNS = ("position", "job_id", "queue", "task", "outcome", "at", "effect", "same_failure")


class Format(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


CONTENT_TYPES = {Format.CSV: "text/csv; charset=utf-8", Format.JSONL: "application/jsonl; charset=utf-8"}


def outcome_lines(row: Operation, wanted: Format) -> Iterator[str]:
    """One line an item, in the order of sending; CSV begins with the names of ``COLUMNS``."""
    if wanted == Format.CSV:
        yield _csv_line(COLUMNS)
    for values in _rows(row):
        plain = {**values, "at": rfc3339(values["at"]) if values["at"] else None}
        yield _csv_line(plain.values()) if wanted == Format.CSV else json.dumps(plain, ensure_ascii=False) + "\n"


def filename(row: Operation, wanted: Format) -> str:
    return f"operation-{row.pk}-outcomes.{wanted}"


def _rows(row: Operation) -> Iterator[dict[str, Any]]:
    columns = [name if name != "task" else "dead_letter__func" for name in COLUMNS]
    reached = 0
    while page := list(row.items.filter(position__gt=reached).order_by("position").values_list(*columns)[:PAGE]):
        yield from (dict(zip(COLUMNS, values, strict=True)) for values in page)
        reached = page[-1][0]


def _csv_line(values: Any) -> str:
    line = StringIO()
    csv.writer(line).writerow([cell(value) for value in values])
    return line.getvalue()
