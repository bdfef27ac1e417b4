"""A failed registry, read in parts."""

import math
import time

import pytest
import redis

from pools.broker import failed_registry
from pools.broker.connection import Broker
from pools.broker.failed_registry import Sign, Span
from tests.broker.commands import counted
from tests.support.valkey import ValkeyServer

KEY = "rq:failed:mail"
ALL = Span(-math.inf, math.inf)


@pytest.fixture
def entries(client: redis.Redis) -> dict[str, float]:
    found = {f"job-{n:04}": 1000.0 + n // 3 for n in range(300)} | {"never": -1.0, "inf": math.inf}
    client.zadd(KEY, found)
    return found


def test_signs_change_with_the_registry(broker: Broker, client: redis.Redis, entries: dict[str, float]) -> None:
    client.set("rq:failed:text", "no registry")
    asked = ["mail", "text", "nothing"]
    assert failed_registry.signs(broker, asked) == {"mail": Sign(302, ("inf", math.inf))}
    client.zrem(KEY, "inf")
    assert failed_registry.signs(broker, asked) == {"mail": Sign(301, ("job-0299", 1099.0))}
    assert failed_registry.signs(broker, []) == {}


def test_spans_of_what_has_not_expired(broker: Broker, client: redis.Redis) -> None:
    now = failed_registry.now(broker)
    assert now == pytest.approx(time.time(), abs=5)
    client.zadd(KEY, {"never": -1, "soon": now + 1, "late": math.inf, "now": now, "past": 7, "oldest": 0})
    never, live = failed_registry.live_spans(now)
    assert failed_registry.counts(broker, "mail", [never, live]) == [1, 2]
    assert failed_registry.entries_in(broker, "mail", never, 0, 10) == {"never": -1}
    assert failed_registry.entries_in(broker, "mail", live, 0, 10) == {"soon": now + 1, "late": math.inf}


def test_entries_come_by_score_from_an_offset_and_stay_within_the_span(
    broker: Broker, entries: dict[str, float]
) -> None:
    span = Span(1010.0, 1020.0)
    wanted = {job_id: score for job_id, score in entries.items() if 1010 <= score <= 1020}
    parts = [failed_registry.entries_in(broker, "mail", span, offset, 10) for offset in range(0, 50, 10)]
    assert [len(part) for part in parts] == [10, 10, 10, 3, 0]
    assert {key: value for part in parts for key, value in part.items()} == wanted
    assert failed_registry.counts(broker, "mail", [span, ALL]) == [33, 302]


def test_pieces_of_a_span_are_about_even(broker: Broker, entries: dict[str, float]) -> None:
    pieces = Span(1000.0, math.inf).cut(failed_registry.scores_in(broker, "mail", Span(1000.0, math.inf), 4))
    assert [piece.low for piece in pieces] == [1000.0, 1025.0, 1050.0, 1075.0]
    counts = failed_registry.counts(broker, "mail", pieces)
    assert sum(counts) == 301 and max(counts) <= 78


def test_a_cut_leaves_nothing_out() -> None:
    assert Span(-math.inf, math.inf).cut([2.0, 1.0, 2.0]) == [
        Span(-math.inf, math.nextafter(1.0, 0)),
        Span(1.0, math.nextafter(2.0, 0)),
        Span(2.0, math.inf),
    ]


def test_ids_come_piece_by_piece(broker: Broker, entries: dict[str, float]) -> None:
    pieces = list(failed_registry.ids(broker, "mail", 100))
    assert [len(piece) for piece in pieces] == [100, 100, 100, 2]
    assert {job_id for piece in pieces for job_id in piece} == entries.keys()
    assert list(failed_registry.ids(broker, "nothing", 100)) == []


def test_scores_of_jobs_in_several_queues_are_one_round_trip(
    broker: Broker, client: redis.Redis, valkey: ValkeyServer, entries: dict[str, float]
) -> None:
    client.zadd("rq:failed:other", {"x": 5})
    asked = [("mail", "job-0000"), ("other", "x"), ("other", "job-0000"), ("nothing", "y")]
    assert failed_registry.scores_of(broker, asked) == [1000.0, 5.0, None, None]
    assert counted(valkey, lambda: failed_registry.scores_of(broker, asked)) == {"zscore": 4}
