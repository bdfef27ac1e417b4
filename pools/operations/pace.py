"""The rate of an operation, from stored facts: a process that dies or comes late neither bursts nor stalls.

A row's ``paced_until`` says until when what was sent uses up the rate: each job that is sent moves it on by 1 / rate.
It never lags more than ``CREDIT`` behind the present, so in any span at most rate * (span + ``CREDIT``) jobs are sent.
"""

from datetime import datetime, timedelta

from pools.models import Operation

CHUNK = 10_000
CREDIT = timedelta(seconds=1)
SECOND = 1_000_000  # microseconds
BATCHES_A_SECOND = 10


def room(row: Operation, now: datetime) -> int:
    """How many jobs may be sent now, at most ``CHUNK``; none as long as it would be less than a batch."""
    if row.rate_per_second is None:
        return CHUNK
    tokens = _micros(now - _begin(row, now)) * row.rate_per_second // SECOND
    return min(tokens, CHUNK) if tokens >= _batch(row.rate_per_second) else 0


def spend(row: Operation, now: datetime, sent: int) -> None:
    """Note on the row that ``sent`` jobs go now."""
    if row.rate_per_second is not None:
        row.paced_until = _begin(row, now) + _span(sent, row.rate_per_second)


def seconds_to_wait(row: Operation, now: datetime) -> float:
    """Until the next batch may go."""
    if row.rate_per_second is None:
        return 0.0
    due = _begin(row, now) + _span(_batch(row.rate_per_second), row.rate_per_second)
    return max((due - now).total_seconds(), 0.0)


def _begin(row: Operation, now: datetime) -> datetime:
    """The moment up to which the rate is used up; at first the first batch may go at once."""
    rate = row.rate_per_second or 1
    return max(row.paced_until or now - _span(_batch(rate), rate), now - CREDIT)


def _batch(rate: int) -> int:
    """Not each job in a transaction of its own."""
    return max(1, min(CHUNK, rate // BATCHES_A_SECOND))


def _span(jobs: int, rate: int) -> timedelta:
    """How long the rate takes for them, to the microsecond above."""
    return timedelta(microseconds=-(-jobs * SECOND // rate))


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
