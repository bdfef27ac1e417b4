"""A pool's retry budget: what real workers do when it is spent, and how the script keeps it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, Retry
from rq.job import Job

from pools.runtime.attempt_note import NOTE
from pools.runtime.identity import Identity
from pools.runtime.job import Failure, Policy, PoolJob
from pools.runtime.keys import Keys
from pools.runtime.retry import RetryRule
from pools.runtime.retry_budget import SPENT, WHOLE, RetryBudget
from pools.runtime.step import FINISH
from tests.broker.jobs import Marker
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

RULE = {"task": "tasks.*", "max": 2, "backoff": 0, "cap": 0, "jitter": 0, "systemic": ["KeyError"]}


@pytest.fixture(scope="module")
def uid() -> str:
    return new_uid()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, uid: str) -> Iterator[AgentHost]:
    """One agent for most tests: its pool may retry two jobs a minute, and one of ten that succeed."""
    folder = tmp_path_factory.mktemp("budget")
    valkey = ValkeyServer(folder / "valkey", free_port())
    valkey.start()
    host = AgentHost(folder / "host", valkey)
    rules = [RULE | {"patience": 0, "task": "tasks.fail", "max": 100}]
    host.configure(uid, spec(retry=rules, retry_budget={"percent": 10, "per_minute": 2}))
    host.start()
    host.wait_for_workers(uid, 1)
    yield host
    host.close()
    valkey.kill()


class TestWorkers:
    @pytest.fixture
    def queue(self, shared: AgentHost, uid: str) -> Queue:
        shared.valkey.client.delete(shared.keys.retries(uid))
        return Queue("mail", connection=shared.valkey.client)

    def test_past_the_budget_a_failure_is_a_dead_letter_that_says_so(
        self, shared: AgentHost, queue: Queue, uid: str
    ) -> None:
        job = queue.enqueue("tasks.fail", "ValueError", "down")
        ended(job)
        texts = [result.exc_string or "" for result in job.results()]
        assert len(texts) == 3 and texts[0].startswith(f"{NOTE}{SPENT}") and "ValueError: down" in texts[0]
        assert not any(SPENT in text for text in texts[1:])
        assert places(shared.valkey.client, "mail", job.id) == ["failed"]
        assert [event["job_id"] for event in shared.events("job.failed")].count(job.id) == 1
        assert Job.fetch(job.id, connection=queue.connection).number_of_retries == 2
        assert 0 < shared.valkey.client.ttl(shared.keys.retries(uid)) <= 3600

    def test_a_jobs_own_retry_is_bound_by_it_too(self, queue: Queue) -> None:
        job = queue.enqueue("tasks.fail", retry=Retry(max=50))
        ended(job)
        assert len(job.results()) == 3
        assert Job.fetch(job.id, connection=queue.connection).retries_left == 48

    def test_what_succeeds_fills_it(self, shared: AgentHost, queue: Queue, uid: str) -> None:
        ended(queue.enqueue("tasks.fail"))
        for job in [queue.enqueue("tasks.add", 1, 1) for _ in range(20)]:
            ended(job, "finished")
        assert 2 <= left(shared.valkey.client, shared.keys.retries(uid)) / WHOLE < 3
        job = queue.enqueue("tasks.fail")
        ended(job)
        assert len(job.results()) == 3

    @pytest.mark.parametrize("junk", [{"left": "nan", "at": "inf"}, {"left": "-5", "at": "x"}, {"left": "9" * 400}])
    def test_junk_in_it_is_a_new_budget(self, shared: AgentHost, queue: Queue, uid: str, junk: dict[str, str]) -> None:
        shared.valkey.client.hset(shared.keys.retries(uid), mapping=junk)  # type: ignore[arg-type]
        job = queue.enqueue("tasks.fail")
        ended(job)
        assert len(job.results()) == 3

    def test_a_key_of_another_type_is_replaced(self, shared: AgentHost, queue: Queue, uid: str) -> None:
        shared.valkey.client.set(shared.keys.retries(uid), "text")
        job = queue.enqueue("tasks.fail")
        ended(job)
        assert len(job.results()) == 3


def test_systemic_errors_outlast_the_rule_and_the_budget(host: AgentHost) -> None:
    uid = new_uid()
    rule = RULE | {"max": 0, "patience": 3600}
    host.configure(uid, spec(retry=[rule], retry_budget={"percent": 1, "per_minute": 0}))
    host.start()
    host.wait_for_workers(uid, 1)
    queue = Queue("mail", connection=host.valkey.client)
    job, other = queue.enqueue("tasks.fail", "KeyError"), queue.enqueue("tasks.fail", "ValueError")
    ended(other)
    wait_for(lambda: len(job.results()) >= 5, message="it goes on")
    assert not Job.fetch(job.id, connection=host.valkey.client).number_of_retries
    assert not host.valkey.client.exists(host.keys.retries(uid))


class TestScript:
    BUDGET = RetryBudget(percent=20, per_minute=6)

    @pytest.fixture
    def client(self, valkey: ValkeyServer) -> Any:
        valkey.client.zadd("rq:wip:mail", {"job:run": 1})
        return valkey.client

    def end(self, client: Any, end: str) -> int:
        change = self.BUDGET.change(end, retries=end == "failure")
        answer: int = client.eval(FINISH, 3, "rq:wip:mail", "rq:worker:w", "pw:retries:x", "job:run", *change)
        return answer

    def test_a_new_budget_is_a_minutes_and_never_more_than_the_most(self, client: Any) -> None:
        assert [self.end(client, "failure") for _ in range(7)] == [1] * 6 + [3]
        assert client.hget("rq:worker:w", "committed") == b"job:run"
        for _ in range(2000):
            self.end(client, "success")
        assert left(client, "pw:retries:x") == pytest.approx(self.BUDGET.change("", retries=False)[2])

    def test_time_fills_it_and_a_clock_that_went_back_begins_anew(self, client: Any) -> None:
        seconds, _ = client.time()
        client.hset("pw:retries:x", mapping={"left": 0, "at": seconds - 30})
        assert [self.end(client, "failure") for _ in range(4)] == [1, 1, 1, 3]
        client.hset("pw:retries:x", mapping={"left": 0, "at": seconds + 3600})
        assert self.end(client, "failure") == 1

    def test_without_a_budget_nothing_is_kept(self, client: Any) -> None:
        for end in ("failure", "success"):
            assert RetryBudget(0, 10).change(end, retries=True)[0] == 0
        assert self.end(client, "retry") == 1
        assert not client.exists("pw:retries:x")

    def test_nothing_is_taken_for_an_end_that_does_not_count(self, client: Any) -> None:
        client.delete("rq:wip:mail")
        assert self.end(client, "failure") == 0
        assert not client.exists("pw:retries:x")


def left(client: Redis, key: str) -> float:
    return float(client.hget(key, "left") or 0)  # type: ignore[arg-type]


def ended(job: Job, status: str = "failed") -> None:
    wait_for(lambda: job.get_status() == status, timeout=30, message=f"{job.id} is {status}")


def test_outside_the_horse_a_rule_is_found_without_loading_the_payload(valkey: ValkeyServer, tmp_path: Path) -> None:
    """A worker that ended a job for its time decides about its retry, too."""
    marker = tmp_path / "loaded"
    identity = Identity("host-1", "host", "uid", "pool", "worker", 1)
    rule = RetryRule("tasks.*", 3, 0, 0, 0, (), ())
    kind = PoolJob.bind(keys=Keys(), identity=identity, policy=Policy(180, 60, [rule]))
    job = kind.create("tasks.add", args=(Marker(str(marker)),), connection=valkey.client)
    job.save()
    job = kind("x", connection=valkey.client)
    job.restore(valkey.client.hgetall(valkey.client.keys("rq:job:*")[0]))
    job.failure = Failure(names=frozenset({"TimeoutError"}))
    assert job.should_retry and not marker.exists()
