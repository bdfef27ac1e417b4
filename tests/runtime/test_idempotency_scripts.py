"""Idempotency keys by hand: what the scripts do in moments that no signal hits, and what a key is made of."""

from dataclasses import asdict
from typing import Any

import pytest
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from pools.runtime import idempotency, step
from pools.runtime.claims import Claims
from pools.runtime.delivery import DeliveryRule
from pools.runtime.keys import Keys
from pools.runtime.reaper import Order, reap
from pools.runtime.refusals import JobRefused
from pools.runtime.rules import Rules
from pools.runtime.task_name import LARGEST_PAYLOAD
from pools.runtime.worker_config import Lost
from tests.runtime.gates import UID, Worker
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

RULE = DeliveryRule("tasks.*", "at_most_once", 3, 0, "0", 600)


class TestScripts:
    """Claims by hand, and deaths in moments that no signal hits."""

    @pytest.fixture
    def queue(self, valkey: ValkeyServer) -> Queue:
        return Queue("mail", connection=valkey.client)

    def workers(self, queue: Queue, count: int = 2) -> list[Worker]:
        return [Worker(queue.connection, f"w-{n}", Rules({}, policies=[RULE])) for n in range(count)]

    def test_a_job_that_waits_lets_others_pass_and_nobody_spins(self, queue: Queue) -> None:
        first, second, third = self.workers(queue, 3)
        jobs = [queue.enqueue("tasks.add", n, 0) for n in (1, 1, 2)]
        assert [first.take(), second.take(), third.take()] == [jobs[0].id, jobs[2].id, None]
        rest = f"pw:gates:{UID}:rest"
        left = wait_for(lambda: third.take() is None and max(0, queue.connection.pttl(rest)), every=0)
        assert left <= 100

    @pytest.mark.parametrize("how", ["release", "acknowledge"])
    def test_a_claim_that_is_given_back_frees_its_key(self, queue: Queue, how: str) -> None:
        first, second = self.workers(queue)
        jobs = [queue.enqueue("tasks.add", 1, 0) for _ in range(2)]
        assert first.take() == jobs[0].id and second.take() is None
        queue.connection.hset("pw:claims", "w-0", f"{queue.key}\n{jobs[0].id}")  # not begun yet
        if how == "release":
            first.claims.release(queue.connection)
        else:
            first.claims.acknowledge(queue.connection, queue, jobs[0].id)
        assert second.take() == jobs[1].id

    def test_a_death_between_claim_and_start_frees_its_key(self, queue: Queue) -> None:
        first, second = self.workers(queue)
        job = queue.enqueue("tasks.add", 1, 0)
        assert first.claims.take(queue.connection, first.queues)
        reap(queue.connection, Keys(), Order(Lost("w-0", "gone"), UID, 1, 60), {})
        assert second.take() == job.id

    def test_a_death_after_the_end_takes_no_result_away(self, queue: Queue) -> None:
        client: Any = queue.connection
        first, second = self.workers(queue)
        jobs = [queue.enqueue("tasks.add", 1, 0) for _ in range(2)]
        assert first.take() == jobs[0].id
        (key,) = client.keys(f"pw:gates:{UID}:once:*")
        for write in idempotency.succeeded(key.decode(), jobs[0].id, "MQ==", 60):
            client.execute_command(*write)
        client.hset(jobs[0].key, "status", "finished")
        client.sadd("rq:worker:w-0:executions", f"{jobs[0].id}:run")
        assert reap(client, Keys(), Order(Lost("w-0", "gone"), UID, 1, 60), {}) == {}
        assert client.hget(key, "state") == b"done"
        assert second.take() == jobs[1].id
        assert client.hmget(jobs[1].key, idempotency.BY, idempotency.RESULT) == [jobs[0].id.encode(), b"MQ=="]
        assert not client.hexists("pw:holds", "w-1"), "an answered job holds nothing"

    def test_a_key_whose_job_and_worker_are_both_gone_is_free(self, queue: Queue) -> None:
        first, second = self.workers(queue)
        jobs = [queue.enqueue("tasks.add", 1, 0) for _ in range(2)]
        assert first.take() == jobs[0].id
        queue.connection.hset(jobs[0].key, "status", "started")
        queue.connection.hdel("pw:holds", "w-0")
        assert second.take() is None, "it may run yet: whoever finds its lease over decides"
        jobs[0].delete()
        assert second.take() == jobs[1].id

    def test_an_end_without_its_lease_says_nothing_to_the_key(self, queue: Queue) -> None:
        client: Any = queue.connection
        client.hset("key", "state", "running")
        writes = idempotency.succeeded("key", "a", "cmVzdWx0", 60)
        guard = step.Guard(
            step.FINISH, ["rq:wip:mail", "rq:worker:w", "pw:retries:x"], ["a:run", 0, 0, 0], writes=writes
        )
        with pytest.raises(step.LeaseLost), step.Step(client, guard) as pipeline:
            pipeline.execute()
        assert client.hgetall("key") == {b"state": b"running"}
        client.zadd("rq:wip:mail", {"a:run": 1})
        with step.Step(client, guard) as pipeline:
            pipeline.execute()
        assert client.hget("key", "state") == b"done" and client.ttl("key") == 60


def test_what_a_claim_need_not_know_costs_nothing() -> None:
    """Neither the longer claim nor a script at the end, for tasks without a key."""
    light = DeliveryRule("a.*", "at_least_once", 3, 60, failure_ttl=60, fallback="a.b")
    none: dict[str, Any] = {"weights": {}, "breakers": [], "limits": []}
    assert Rules.read(none | {"policies": [asdict(light)]}).plain
    known = Rules.read(none | {"policies": [asdict(rule) for rule in (light, RULE, light)]})
    assert not known.plain and known.policies == [light, RULE], "the first that matches decides"
    claims = Claims(Keys(), "w", known, UID)
    assert claims.ended("success", frozenset(), keyed=False) == () != claims.ended("success", frozenset(), keyed=True)


class TestDigest:
    def digest(self, path: str, *args: Any, serializer: Any = None, **named: Any) -> str:
        job = Job.create("tasks.add", args, named, connection=Any, id="a", serializer=serializer)
        return idempotency.digest("pool", "tasks.add", job.to_dict()["data"], path, "a")

    @pytest.mark.parametrize("serializer", [None, JSONSerializer])
    def test_it_is_of_the_whole_value_and_shows_nothing_of_it(self, serializer: Any) -> None:
        long = ["x" * 500 + end for end in "ab"]
        one, other = (self.digest("order.id", order={"id": text}, serializer=serializer) for text in long)
        assert one != other and len(one) == 64
        assert self.digest("0", 42) == self.digest("0", 42, serializer=serializer) != self.digest("0", 43)

    @pytest.mark.parametrize("value", [None, True, [1], {"a": 1}, ""])
    def test_what_is_no_text_or_number_is_no_key(self, value: Any) -> None:
        assert self.digest("0", value) == self.digest("0", value, serializer=JSONSerializer) == ""
        assert self.digest("1", value) == self.digest("name", value) == ""

    def test_job_is_the_jobs_id(self) -> None:
        assert self.digest("job") == self.digest("job", 1) != ""

    def test_a_payload_that_is_not_read_to_its_end_is_refused(self) -> None:
        with pytest.raises(JobRefused, match="idempotency key cannot be read: the payload takes more than 1,000,000"):
            self.digest("0", 1, "x" * LARGEST_PAYLOAD, serializer=JSONSerializer)
        with pytest.raises(JobRefused, match="idempotency key cannot be read: it is damaged"):
            idempotency.digest("pool", "tasks.add", b"\x80junk", "0", "a")
