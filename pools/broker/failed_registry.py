"""RQ's failed registries: sorted sets of job ids by expiry (unix seconds; -1 never). Read in parts, never whole."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.pipelines import Pipelines


class Span(NamedTuple):
    """Scores from ``low`` to ``high``, both included."""

    low: float
    high: float

    def cut(self, at: Iterable[float]) -> list["Span"]:
        """Side by side, beginning anew at each of the scores ``at``, which lie above ``low``."""
        lows = [self.low, *sorted(set(at))]
        highs = [math.nextafter(low, -math.inf) for low in lows[1:]]
        return [Span(low, high) for low, high in zip(lows, [*highs, self.high], strict=True)]


class Sign(NamedTuple):
    """Changes when a registry does, unless something was put in the place of something else."""

    size: int
    last: tuple[str, float] | None


def signs(broker: Broker, queues: Sequence[str]) -> dict[str, Sign]:
    """Of the queues that have a failed registry. One round trip."""
    with broker.use() as client:
        answers = Pipelines(client).run(
            command
            for queue in queues
            for command in (
                ("ZCARD", broker.rq.failed(queue)),
                ("ZREVRANGE", broker.rq.failed(queue), 0, 0, "WITHSCORES"),
            )
        )
    found = {}
    for queue, size, last in zip(queues, answers[::2], answers[1::2], strict=True):
        if fields.count(size):
            found[queue] = Sign(fields.count(size), next(iter(_entries(last)), None))
    return found


def now(broker: Broker) -> float:
    """By the broker's clock: what is scored lower has expired."""
    with broker.use() as client:
        return float(client.time()[0])


def live_spans(now: float) -> list[Span]:
    """Of entries that never expire, and of those that have not expired."""
    return [Span(-math.inf, math.nextafter(0.0, -math.inf)), Span(math.nextafter(now, math.inf), math.inf)]


def counts(broker: Broker, queue: str, spans: Sequence[Span]) -> list[int]:
    """How many entries each span holds. One round trip."""
    with broker.use() as client:
        answers = Pipelines(client).run(("ZCOUNT", broker.rq.failed(queue), *_words(span)) for span in spans)
    return [fields.count(answer) for answer in answers]


def scores_in(broker: Broker, queue: str, span: Span, pieces: int) -> list[float]:
    """Scores that cut what the span holds in about as many even pieces. Two round trips."""
    key = broker.rq.failed(queue)
    with broker.use() as client:
        pipelines = Pipelines(client)
        first, size = pipelines.run([("ZCOUNT", key, "-inf", f"({span.low!r}"), ("ZCOUNT", key, *_words(span))])
        ranks = {first + size * piece // pieces for piece in range(1, pieces)}
        answers = pipelines.run(("ZRANGE", key, rank, rank, "WITHSCORES") for rank in sorted(ranks))
    return [score for answer in answers for _, score in _entries(answer) if span.low < score <= span.high]


def entries_in(broker: Broker, queue: str, span: Span, offset: int, count: int) -> dict[str, float]:
    """Entries of the span, lowest score first, from the ``offset``-th on; found by rank, so that none is far away."""
    key = broker.rq.failed(queue)
    with broker.use() as client:
        pipelines = Pipelines(client)
        start = fields.count(pipelines.run([("ZCOUNT", key, "-inf", f"({span.low!r}")])[0]) + offset
        [answer] = pipelines.run([("ZRANGE", key, start, start + count - 1, "WITHSCORES")])
    return {job_id: score for job_id, score in _entries(answer) if span.low <= score <= span.high}


def ids(broker: Broker, queue: str, size: int) -> Iterator[list[str]]:
    """All ids in pieces of ``size``, each read when it is asked for: what moves meanwhile may be missed."""
    start = 0
    while True:
        with broker.use() as client:
            found = client.zrange(broker.rq.failed(queue), start, start + size - 1)
        if not found:
            return
        yield [fields.text(job_id, 500) for job_id in found]
        start += size


def scores_of(broker: Broker, jobs: Sequence[tuple[str, str]]) -> list[float | None]:
    """Of each queue and job id; None where the registry does not have it. One round trip."""
    with broker.use() as client:
        answers = Pipelines(client).run(("ZSCORE", broker.rq.failed(queue), job_id) for queue, job_id in jobs)
    return [answer if isinstance(answer, float) else None for answer in answers]


def _words(span: Span) -> tuple[str, str]:
    return repr(span.low), repr(span.high)


def _entries(answer: object) -> list[tuple[str, float]]:
    """Of an answer as RESP2 gives it: ids and scores by turns."""
    flat = fields.listed(answer)
    return [(fields.text(job_id, 500), float(score)) for job_id, score in zip(flat[::2], flat[1::2], strict=True)]
