"""The claim script, step by step: a job is always in one place, and always the same answer to the same question."""

from typing import Any

import pytest
from rq import Queue, suspension

from pools.runtime.claims import Claim, Claims
from pools.runtime.keys import Keys
from tests.runtime.places import places
from tests.support.valkey import ValkeyServer


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def queues(client: Any) -> list[Queue]:
    return [Queue("urgent", connection=client), Queue("mail", connection=client)]


@pytest.fixture
def claims() -> Claims:
    return Claims(Keys(), "worker-1")


def test_queues_are_emptied_in_their_order(client: Any, queues: list[Queue], claims: Claims) -> None:
    later, sooner = queues[1].enqueue("tasks.add"), queues[0].enqueue("tasks.add")
    for queue, job in ((queues[0], sooner), (queues[1], later)):
        assert claims.take(client, queues) == Claim(queue.name, job.id)
        assert places(client, queue.name, job.id) == ["intermediate"]
        claims.acknowledge(client, queue, job.id)
        assert places(client, queue.name, job.id) == []
    assert claims.take(client, queues) is None
    assert client.keys("*first_seen*") == []


def test_claim_whose_answer_was_lost_is_answered_again(client: Any, queues: list[Queue], claims: Claims) -> None:
    first, second = (queues[1].enqueue("tasks.add") for _ in range(2))
    assert claims.take(client, queues) == claims.take(client, queues) == Claim("mail", first.id)
    assert places(client, "mail", second.id) == ["queue"]
    assert Claims(Keys(), "worker-2").take(client, queues) == Claim("mail", second.id)


def test_acknowledging_twice_spares_another_workers_claim_of_the_same_job(
    client: Any, queues: list[Queue], claims: Claims
) -> None:
    job, other = queues[1].enqueue("tasks.add"), Claims(Keys(), "worker-2")
    claims.take(client, queues)
    claims.acknowledge(client, queues[1], job.id)
    queues[1].push_job_id(job.id)
    assert other.take(client, queues) == Claim("mail", job.id)
    claims.acknowledge(client, queues[1], job.id)
    assert places(client, "mail", job.id) == ["intermediate"]


def test_release_puts_the_job_first_and_forgets_the_claim(client: Any, queues: list[Queue], claims: Claims) -> None:
    first, second = (queues[1].enqueue("tasks.add") for _ in range(2))
    claims.take(client, queues)
    assert claims.release(client) == first.id
    assert queues[1].job_ids == [first.id, second.id]
    assert claims.release(client) is None
    assert queues[1].job_ids == [first.id, second.id]


def test_release_of_a_job_that_was_cancelled_meanwhile_drops_it(
    client: Any, queues: list[Queue], claims: Claims
) -> None:
    job = queues[1].enqueue("tasks.add")
    claims.take(client, queues)
    job.cancel()
    claims.release(client)
    assert places(client, "mail", job.id) == ["canceled"]


def test_suspended_workers_take_nothing(client: Any, queues: list[Queue], claims: Claims) -> None:
    job = queues[1].enqueue("tasks.add")
    suspension.suspend(client)
    assert claims.take(client, queues) is None
    suspension.resume(client)
    assert claims.take(client, queues) == Claim("mail", job.id)


def test_keys_follow_rqs_prefix() -> None:
    assert (Keys().claims, Keys("{eu}").claims) == ("pw:claims", "{eu}:pw:claims")
    assert Keys("x").config("uid") == "x:pw:config:uid"
