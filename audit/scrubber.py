"""Reads the log again, slice by slice, for what was changed behind its back.

The tree vouches for the leaves, and a leaf for its event. The columns that pages search and show are a copy of the leaf
for which nothing vouches but this: it compares them, as it does each leaf's hash, each personal value that is still
there, and the indexes.
"""

import json
import time
from collections.abc import Iterator

from django.db import transaction

from audit import conditions
from audit.actor import system_actor
from audit.merkle import leaf_hash
from audit.models import Leaf
from audit.recorder import columns_of, commitment, record
from audit.target import Target

SLICE = 500
AGAIN = 24 * 3600.0
"""Seconds from the start of one reading of the whole log to the start of the next, if it has ended by then."""


class Scrubber:
    """Runs in the controller. It begins with the first event, goes on as the log grows, and begins again each day."""

    _next: int
    """The index that is read next."""

    def __init__(self) -> None:
        self._begin()

    def tick(self) -> bool:
        """Read a slice; True when more is waiting. What it finds is a condition, and an event when it is news."""
        rows = list(
            Leaf.objects.filter(index__gte=self._next)
            .select_related("event")
            .prefetch_related("event__personal")
            .order_by("index")[:SLICE]
        )
        if not rows:
            self._end()
            return False
        found = next(self._found(rows), "")
        self._next = rows[-1].index + 1
        if found:
            self._report(found)
        return len(rows) == SLICE

    def _found(self, rows: list[Leaf]) -> Iterator[str]:
        expected = self._next
        for leaf in rows:
            if leaf.index != expected:
                yield f"Event {expected:,} is gone."
            expected = leaf.index + 1
            if what := altered(leaf):
                yield f"Event {leaf.index:,} was altered: {what}."

    def _begin(self) -> None:
        self._next = 0
        self._began = time.monotonic()
        self._bad = self._ended = False

    def _end(self) -> None:
        """All that is there has been read."""
        if not self._ended and not self._bad:
            conditions.report(conditions.CONTENTS, good=True, size=self._next)
        self._ended = True
        if time.monotonic() - self._began > AGAIN:
            self._begin()

    def _report(self, why: str) -> None:
        self._bad = True
        with transaction.atomic():
            if conditions.report(conditions.CONTENTS, good=False, detail=why):
                target = Target(kind="log", id="contents", name="audit log")
                record(actor=system_actor("controller"), action="log.altered", target=target, detail={"why": why})


def altered(leaf: Leaf) -> str:
    """What of an event is not as its leaf's hash has it; empty when nothing is."""
    event = leaf.event
    raw = bytes(event.leaf)
    if leaf_hash(raw) != bytes(leaf.hash):
        return "its bytes do not have the hash that is in the log"
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        return "its bytes are no event"
    columns = [name for name, value in columns_of(event).items() if told.get(name) != value]
    if columns:
        return f"what is shown as its {columns[0]} is not what was recorded"
    for value in event.personal.all():
        if told.get("personal", {}).get(value.field) != commitment(bytes(value.salt), value.value):
            return f"what is shown as its {value.field} is not what was recorded"
    return ""
