"""Jobs with one idempotency key, in real workers: one runs, the others get its result, and no death runs one twice."""

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from pools.broker.attempts import read_attempts
from pools.broker.connection import Broker
from pools.runtime import idempotency, step
from pools.runtime.delivery import DeliveryRule
from pools.runtime.keys import Keys
from pools.runtime.reaper import Order, reap
from pools.runtime.refusals import JobRefused
from pools.runtime.rules import Rules
from pools.runtime.task_name import LARGEST_PAYLOAD
from pools.runtime.worker_config import Lost
from tests.runtime.gates import UID, Worker
from tests.runtime.holding import hold, release, runs
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

POLICIES = [
    {"task": "tasks.hold", "idempotency_key": "0", "idempotency_keep": 600},
    {"task": "tasks.fail"},
    {"task": "tasks.*", "idempotency_key": "0", "idempotency_keep": 600},
]
RULE = DeliveryRule("tasks.*", "at_most_once", 3, 0, "0", 600)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHost]:
    folder = tmp_path_factory.mktemp("idempotency")
    valkey = ValkeyServer(folder / "valkey", free_port())
    valkey.start()
    host = AgentHost(folder / "host", valkey)
    uid = new_uid()
    host.configure(uid, spec(workers=2, policies=POLICIES, horse={"jobs": 3}))
    host.start()
    host.wait_for_workers(uid, 2)
    yield host
    host.close()
    valkey.kill()


@pytest.fixture
def queue(shared: AgentHost) -> Queue:
    return Queue("mail", connection=shared.valkey.client)


def ended(job: Job, status: str = "finished") -> Job:
    wait_for(lambda: job.get_status() == status, timeout=20, message=f"{job.id} is {status}")
    return job


class TestWorkers:
    def test_the_second_waits_for_the_first_and_gets_its_result(
        self, shared: AgentHost, queue: Queue, tmp_path: Path
    ) -> None:
        marker = tmp_path / "held"
        first, _ = hold(shared, marker)
        second = queue.enqueue("tasks.hold", str(marker), on_success=Callback("tasks.told"))
        ended(queue.enqueue("tasks.add", 10, 2))  # others pass
        assert second.get_status() == "queued"
        release(marker)
        ended(first)
        ended(second)
        assert runs(marker) == 1 and Path(f"{marker}.success").exists()
        (run,) = read_attempts(Broker("default", shared.valkey.url), second.id).runs
        assert (run.outcome, run.worker != "", run.config) == ("successful", True, 1)
        assert run.why.endswith(f"the result is that of job {first.id}, which has the same idempotency key.")
        assert queue.connection.hmget(second.key, idempotency.BY, idempotency.RESULT) == [None, None]

    def test_a_result_answers_for_its_time_and_outlives_its_job(self, shared: AgentHost, queue: Queue) -> None:
        first = queue.enqueue("tasks.add", 1, 2, result_ttl=0)
        wait_for(lambda: not queue.connection.exists(first.key), message="it is gone")
        second, other = ended(queue.enqueue("tasks.add", 1, 5)), ended(queue.enqueue("tasks.add", 2, 5))
        assert (second.return_value(refresh=True), other.return_value(refresh=True)) == (3, 7)
        (key,) = [key for key in queue.connection.keys("pw:gates:*:once:*") if is_of(queue, key, first.id)]
        assert 590 < queue.connection.ttl(key) <= 600
        queue.connection.delete(key)
        assert ended(queue.enqueue("tasks.add", 1, 5)).return_value(refresh=True) == 6

    def test_after_a_failure_the_next_runs(self, queue: Queue) -> None:
        ended(queue.enqueue("tasks.add", 5, None), "failed")
        assert ended(queue.enqueue("tasks.add", 5, 5)).return_value(refresh=True) == 10

    def test_jobs_without_the_argument_have_no_key(self, queue: Queue, tmp_path: Path) -> None:
        marker = tmp_path / "marked"
        for _ in range(2):
            ended(queue.enqueue("tasks.mark", path=str(marker)))
        assert runs(marker) == 2

    def test_a_requeued_dead_letter_runs_or_is_answered(self, queue: Queue) -> None:
        failed = ended(queue.enqueue("tasks.add", 6, None), "failed")
        done = ended(queue.enqueue("tasks.add", 6, 1))
        FailedJobRegistry(queue=queue).requeue(failed)
        assert ended(failed).return_value(refresh=True) == done.return_value(refresh=True) == 7

    def test_of_thirty_one_runs(self, queue: Queue, tmp_path: Path) -> None:
        marker = tmp_path / "marked"
        jobs = [queue.enqueue("tasks.mark", str(marker)) for _ in range(30)]
        for job in jobs:
            ended(job)
        assert runs(marker) == 1

    def test_a_dead_horse_leaves_its_outcome_unknown_until_a_person_decides(
        self, shared: AgentHost, queue: Queue, tmp_path: Path
    ) -> None:
        marker = tmp_path / "held"
        first, horse = hold(shared, marker)
        second = queue.enqueue("tasks.hold", str(marker))
        os.kill(horse, signal.SIGKILL)
        ended(first, "failed")
        ended(second, "failed")
        text = (second.latest_result() or first.latest_result()).exc_string or ""
        assert text.startswith(f"poolwarden.UnknownOutcome: Job {first.id}, which has the same idempotency key, was lo")
        assert runs(marker) == 1
        release(marker)
        FailedJobRegistry(queue=queue).requeue(second)
        ended(second)
        assert runs(marker) == 2, "a person decided"


@pytest.mark.parametrize(
    ("delivery", "began", "outcomes"),
    [("at_most_once", 1, ("failed", "failed")), ("at_least_once", 2, ("finished", "finished"))],
)
def test_a_killed_worker_leaves_the_key_to_the_delivery_policy(
    host: AgentHost, tmp_path: Path, delivery: str, began: int, outcomes: tuple[str, str]
) -> None:
    uid, marker = new_uid(), tmp_path / "held"
    host.configure(uid, spec(policies=[POLICIES[0] | {"delivery": delivery}]))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    first, _ = hold(host, marker)
    second = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(marker))
    if delivery == "at_least_once":
        release(marker)
    signal_worker(worker, signal.SIGKILL)
    for job, outcome in zip((first, second), outcomes, strict=True):
        ended(job, outcome)
    assert runs(marker) == began
    if delivery == "at_most_once":
        release(marker)
        FailedJobRegistry(queue=Queue("mail", connection=host.valkey.client)).requeue(first)
        ended(first)
        assert runs(marker) == 2, "the lost one may run when a person requeues it"
    assert host.valkey.client.hlen(host.keys.holds) == 0


def test_whenever_workers_are_killed_no_key_runs_twice(host: AgentHost, tmp_path: Path) -> None:
    """At_most_once: a key's work is begun once, or a dead letter says that nobody knows."""
    uid, client = new_uid(), host.valkey.client
    host.configure(uid, spec(workers=3, policies=[{"task": "tasks.mark", "idempotency_key": "0"}]))
    host.start()
    host.wait_for_workers(uid, 3, timeout=60)
    queue, dice = Queue("mail", connection=client), random.Random(7)
    markers = [tmp_path / f"marked-{n}" for n in range(40)]
    calls = [marker for marker in markers for _ in range(2)]
    dice.shuffle(calls)
    jobs = queue.enqueue_many([Queue.prepare_data("tasks.mark", (str(marker),)) for marker in calls])
    killed = 0
    while queue.count > 10 and killed < 4:
        victims = [worker for worker in host.workers(uid) if worker["pid"]]
        if victims:
            killed += signal_worker(dice.choice(victims), signal.SIGKILL) is None
        wait_for(lambda: any(worker["state"] == "running" for worker in host.workers(uid)), timeout=30)
    ends = {b"finished", b"failed"}
    wait_for(lambda: {client.hget(job.key, "status") for job in jobs} <= ends, timeout=60, message=host.log)
    assert killed >= 2
    for marker in markers:
        began = runs(marker) if marker.exists() else 0
        said = {client.hget(job.key, "status") for job, call in zip(jobs, calls, strict=True) if call == marker}
        assert began <= 1 and (began == 1 or said == {b"failed"}), marker


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
        assert 0 < queue.connection.pttl(f"pw:gates:{UID}:rest") <= 100

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


def is_of(queue: Queue, key: bytes, job_id: str) -> bool:
    return queue.connection.hget(key, "job") == job_id.encode()
