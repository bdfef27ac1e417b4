"""Where a failed registry and our open letters differ, found by counting: what is equal is not read.

Both sides are ordered by score, so a range whose counts differ is cut in pieces, and each of those is counted again,
down to ranges that are small, or in which most differs. Work grows with the differences and not with the registry.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pools.broker import failed_registry
from pools.broker.connection import Broker
from pools.broker.failed_registry import Span

LEAF = 500
PIECES = 16
FEW = 20_000
"""Letters of a span, or entries, that may be read beside as many that differ."""


class Difference(NamedTuple):
    """How many entries the broker has in a span of scores, and how many letters we have."""

    span: Span
    entries: int
    letters: int


def differences(
    broker: Broker, queue: str, spans: Sequence[Span], count_letters: Callable[[Span], int]
) -> Iterator[Difference]:
    """Those within ``spans``. Spans in which as many were added as were taken away are not among them."""
    work = list(spans)
    while work:
        counted = zip(work, failed_registry.counts(broker, queue, work), strict=True)
        found = [Difference(span, entries, count_letters(span)) for span, entries in counted]
        work = []
        for difference in found:
            span, entries, letters = difference
            if entries == letters:
                continue
            if _is_read(entries, letters) or span.low == span.high:
                yield difference
            else:
                work += _pieces(broker, queue, span)


def _is_read(entries: int, letters: int) -> bool:
    """Small, or most of it differs: to cut it would only be to read it in pieces."""
    most, least = max(entries, letters), min(entries, letters)
    return most <= LEAF or (least <= FEW and least <= most - least)


def _pieces(broker: Broker, queue: str, span: Span) -> list[Span]:
    """At least two. A score that very many share becomes a piece of its own in the end."""
    pieces = span.cut(failed_registry.scores_in(broker, queue, span, PIECES))
    return pieces if len(pieces) > 1 else span.cut([math.nextafter(span.low, math.inf)])
