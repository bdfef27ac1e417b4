"""What two ordered sets do not share, found by counting."""

import bisect
import math
import random
from collections.abc import Callable

import pytest
import redis

from pools.broker.connection import Broker
from pools.broker.failed_registry import Span
from pools.controller.differences import FEW, LEAF, Difference, differences
from tests.broker.commands import counted
from tests.support.valkey import ValkeyServer

KEY = "rq:failed:mail"
ALL = [Span(-math.inf, math.inf)]


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


def counting(scores: list[float]) -> Callable[[Span], int]:
    ordered = sorted(scores)
    return lambda span: bisect.bisect_right(ordered, span.high) - bisect.bisect_left(ordered, span.low)


def fill(client: redis.Redis, scores: list[float]) -> None:
    client.zadd(KEY, {f"job-{n}": score for n, score in enumerate(scores)})


def test_nothing_is_read_where_the_counts_are_equal(broker: Broker, client: redis.Redis, valkey: ValkeyServer) -> None:
    scores = [float(n) for n in range(5000)]
    fill(client, scores)
    assert counted(valkey, lambda: list(differences(broker, "mail", ALL, counting(scores)))) == {"zcount": 1}
    assert list(differences(broker, "nothing", ALL, counting([]))) == []


def test_what_only_one_side_has_is_one_difference(broker: Broker, client: redis.Redis) -> None:
    fill(client, [float(n) for n in range(3000)])
    assert list(differences(broker, "mail", ALL, counting([]))) == [Difference(ALL[0], 3000, 0)]
    assert list(differences(broker, "nothing", ALL, counting([1.0] * 900))) == [Difference(ALL[0], 0, 900)]


def test_what_mostly_differs_is_one_difference(broker: Broker, client: redis.Redis, valkey: ValkeyServer) -> None:
    fill(client, [float(n) for n in range(3000)])
    found: list[Difference] = []
    ours = counting([float(n) for n in range(0, 3000, 2)])
    commands = counted(valkey, lambda: found.extend(differences(broker, "mail", ALL, ours)))
    assert (found, commands) == ([Difference(ALL[0], 3000, 1500)], {"zcount": 1})
    theirs = counting([float(n) for n in range(9000)])
    assert list(differences(broker, "mail", ALL, theirs)) == [Difference(ALL[0], 3000, 9000)]


def test_very_many_letters_are_not_read_at_once(broker: Broker, client: redis.Redis) -> None:
    ours, theirs = 2 * FEW, 5 * FEW
    fill(client, [float(n) for n in range(theirs)])
    found = list(differences(broker, "mail", ALL, counting([float(n) for n in range(0, theirs, 5)] * 2)))
    assert sum(letters for _, _, letters in found) == ours
    assert sum(entries for _, entries, _ in found) == theirs
    assert max(min(entries, letters) for _, entries, letters in found) <= FEW


@pytest.mark.parametrize("seed", range(8))
def test_few_differences_in_many_are_found_in_few_steps(
    broker: Broker, client: redis.Redis, valkey: ValkeyServer, seed: int
) -> None:
    chance = random.Random(seed)
    shared = [float(chance.randrange(10_000 if seed % 2 else 40)) for _ in range(20_000)]
    theirs = [float(chance.randrange(10_000)) for _ in range(3)]
    ours = [float(chance.randrange(10_000)) for _ in range(2)]
    fill(client, shared + theirs)
    found: list[Difference] = []
    commands = counted(valkey, lambda: found.extend(differences(broker, "mail", ALL, counting(shared + ours))))
    for score in set(theirs) ^ set(ours):
        assert any(span.low <= score <= span.high for span, _, _ in found), score
    assert sum(entries - letters for _, entries, letters in found) == 1
    assert all(max(entries, letters) <= LEAF or span.low == span.high for span, entries, letters in found)
    assert sum(commands.values()) < 1000, "of 20,003 entries"


def test_a_score_that_very_many_share_is_one_difference(broker: Broker, client: redis.Redis) -> None:
    fill(client, [-1.0] * 2000 + [5.0, 6.0])
    found = list(differences(broker, "mail", ALL, counting([-1.0] * 1999 + [5.0, 6.0])))
    assert found == [Difference(Span(-1.0, -1.0), 2000, 1999)]
