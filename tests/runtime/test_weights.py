"""Weighted claims: shares as the weights are, over any workers, and no queue waits for ever."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rq import Queue
from rq.job import Job

from pools.runtime.claims import Claim, Claims
from pools.runtime.keys import Keys
from pools.runtime.rules import PLAIN, Rules
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

QUEUES = ["a", "b", "c", "d"]


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


def _fill(client: Any, queue: str, count: int) -> None:
    client.rpush(f"rq:queue:{queue}", *(f"{queue}-{n}" for n in range(count)))


def _take(client: Any, rules: Rules, times: int, queues: list[str] = QUEUES) -> list[str]:
    """The queues of so many claims, made by two workers in turn."""
    workers = [Claims(Keys(), name, rules, "pool") for name in ("w-1", "w-2")]
    asked = [Queue(name, connection=client) for name in queues]
    taken = []
    for turn in range(times):
        found = workers[turn % 2].take(client, asked)
        assert found is not None
        taken.append(found.queue)
        workers[turn % 2].acknowledge(client, next(queue for queue in asked if queue.name == found.queue), found.job_id)
    return taken


@given(weights=st.lists(st.integers(1, 100), min_size=2, max_size=4))
@settings(max_examples=15)
def test_shares_are_exactly_the_weights(valkey: ValkeyServer, weights: list[int]) -> None:
    client: Any = valkey.client
    client.flushall()
    queues = QUEUES[: len(weights)]
    for queue, weight in zip(queues, weights, strict=True):
        _fill(client, queue, 2 * weight)
    rules = Rules(weights=dict(zip(queues, weights, strict=True)))
    for _ in range(2):
        taken = _take(client, rules, sum(weights), queues)
        assert [taken.count(queue) for queue in queues] == weights
    assert all(client.llen(f"rq:queue:{queue}") == 0 for queue in queues)


def test_turns_are_mixed_and_not_in_blocks(client: Any) -> None:
    for queue in "abc":
        _fill(client, queue, 10)
    assert _take(client, Rules(weights={"a": 5, "b": 1}), 7, ["a", "b", "c"]) == list("aabacaa")


@given(
    weights=st.lists(st.integers(1, 100), min_size=4, max_size=4),
    pushes=st.lists(st.sampled_from(QUEUES), min_size=1, max_size=40),
)
@settings(max_examples=15)
def test_a_waiting_queue_is_passed_over_for_a_bounded_time(
    valkey: ValkeyServer, weights: list[int], pushes: list[str]
) -> None:
    """Whatever came before, and however the other queues are fed."""
    client: Any = valkey.client
    client.flushall()
    rules = Rules(weights=dict(zip(QUEUES, weights, strict=True)))
    for queue in pushes:
        _fill(client, queue, 1)
    _take(client, rules, len(pushes))
    for queue in QUEUES[1:]:
        _fill(client, queue, 2 * sum(weights) * len(QUEUES))
    client.rpush("rq:queue:a", "alone")
    bound = len(QUEUES) * (sum(weights) // weights[0] + 1)
    assert "a" in _take(client, rules, bound)


def test_what_a_queue_does_not_use_goes_to_the_others(client: Any) -> None:
    _fill(client, "b", 5)
    assert _take(client, Rules(weights={"a": 100}), 5) == ["b"] * 5
    assert (
        Claims(Keys(), "w-1", Rules(weights={"a": 100}), "pool").take(client, [Queue("a", connection=client)]) is None
    )


def test_claim_whose_answer_was_lost_is_answered_again_and_paid_once(client: Any) -> None:
    job = Queue("a", connection=client).enqueue("tasks.add")
    Queue("a", connection=client).enqueue("tasks.add")
    worker, asked = Claims(Keys(), "w-1", Rules(weights={"a": 3}), "pool"), [Queue("a", connection=client)]
    assert worker.take(client, asked) == worker.take(client, asked) == Claim("a", job.id)
    assert places(client, "a", job.id) == ["intermediate"]
    assert client.hgetall("pw:weights:pool") == {b"rq:queue:a": b"0"}


def test_a_pool_without_weights_runs_the_plain_script(client: Any) -> None:
    Queue("a", connection=client).enqueue("tasks.add")
    assert Claims(Keys(), "w-1", PLAIN, "pool").take(client, [Queue("a", connection=client)]) is not None
    assert not client.exists("pw:weights:pool")


def test_real_workers_serve_the_second_queue_while_the_first_never_runs_dry(host: AgentHost) -> None:
    uid, client = new_uid(), host.valkey.client
    urgent, bulk = (Queue(name, connection=client) for name in ("urgent", "bulk"))
    calls = [Queue.prepare_data("tasks.add", (1, 1)) for _ in range(30)]
    first, others = urgent.enqueue_many(calls), bulk.enqueue_many(calls)
    host.configure(uid, spec("urgent", queues=["urgent", "bulk"], weights={"urgent": 2, "bulk": 1}, horse={"jobs": 50}))
    host.start()
    wait_for(lambda: all(job.get_status() == "finished" for job in [*first, *others]), message=host.log)
    began = [[Job.fetch(job.id, client).started_at for job in jobs] for jobs in (first, others)]
    meanwhile = sum(at < max(began[0]) for at in began[1])
    assert 13 <= meanwhile <= 17, "it had its third, not what was left over"
