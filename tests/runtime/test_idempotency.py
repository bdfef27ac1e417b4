"""Jobs with one idempotency key, in real workers: one runs, the others get its result, and no death runs one twice."""

import os
import random
import signal
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue
from rq.job import Job
from rq.registry import FailedJobRegistry

from pools.broker.attempts import read_attempts
from pools.broker.connection import Broker
from pools.runtime import idempotency
from pools.runtime.processes import ProcessId
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
        assert 0 < queue.connection.ttl(key) <= 600
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
    first, horse = hold(host, marker)
    second = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(marker))
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: ProcessId.of(horse) is None, message="its horse died with it")
    if delivery == "at_least_once":
        release(marker)
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
    jobs: list[Job] = []
    killed: set[int] = set()

    def alive() -> list[dict[str, Any]]:
        return [one for one in host.workers(uid) if one["pid"] not in killed and ProcessId.of(one["pid"])]

    for some in batched(calls, 20):
        jobs += queue.enqueue_many([Queue.prepare_data("tasks.mark", (str(marker),)) for marker in some])
        victim = dice.choice(wait_for(alive, timeout=60, message=host.log))
        signal_worker(victim, signal.SIGKILL)
        killed.add(victim["pid"])
    ends = {b"finished", b"failed"}
    wait_for(lambda: {client.hget(job.key, "status") for job in jobs} <= ends, timeout=60, message=host.log)
    assert len(killed) == 4
    for marker in markers:
        began = runs(marker) if marker.exists() else 0
        said = {client.hget(job.key, "status") for job, call in zip(jobs, calls, strict=True) if call == marker}
        assert began <= 1 and (began == 1 or said == {b"failed"}), marker


def is_of(queue: Queue, key: bytes, job_id: str) -> bool:
    return queue.connection.hget(key, "job") == job_id.encode()
