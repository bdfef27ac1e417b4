"""What a dead worker held is decided once, in one step, as the policy in the job says, and nothing that still runs."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from rq import Queue, Retry, Worker
from rq.executions import Execution
from rq.job import Job
from rq.results import Result
from rq.utils import now

from pools.runtime import delivery
from pools.runtime.claims import Claim, Claims
from pools.runtime.identity import Identity
from pools.runtime.job import Policy, PoolJob
from pools.runtime.keys import Keys
from pools.runtime.reaper import Order, reap, sign, sign_of
from pools.runtime.worker_config import Lost
from tests.runtime.places import places
from tests.support.valkey import ValkeyServer

KEYS = Keys()
ORDER = Order(Lost("gone", "Worker gone ended (signal 9)."), "pool-uid", 7, 3600)
SIGNATURE = {"agent": "host-1", "host": "host"}


@pytest.fixture
def queue(valkey: ValkeyServer) -> Queue:
    return Queue("mail", connection=valkey.client)


@dataclass
class Run:
    worker: Worker
    job: Job
    execution: Execution


def started(queue: Queue, name: str = "gone", **options: Any) -> Run:
    """A job in the middle of its run by worker ``name``."""
    return begin(queue, queue.enqueue("tasks.add", **options), name)


def begin(queue: Queue, job: Job, name: str = "gone") -> Run:
    worker = Worker([queue], name=name, connection=queue.connection, prepare_for_work=False)
    queue.connection.lrem(queue.key, 1, job.id)
    execution = worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    queue.connection.hset(worker.key, "last_heartbeat", "some time")
    return Run(worker, job, execution)


def decided(queue: Queue, order: Order = ORDER) -> dict[str, str] | None:
    return reap(queue.connection, KEYS, order, SIGNATURE)


def redelivered(queue: Queue, job: Job, losses: int = 3) -> None:
    queue.connection.hset(job.key, delivery.FIELD, losses)


class TestDeadLetter:
    def test_at_most_once_is_a_dead_letter_whose_outcome_is_unknown(self, queue: Queue) -> None:
        run = started(queue)
        assert decided(queue) == {run.job.id: "unknown"}
        assert places(queue.connection, "mail", run.job.id) == ["failed"]
        result = run.job.latest_result()
        assert result is not None and result.type == Result.Type.FAILED
        assert (result.worker_name, result.execution_id) == ("gone", run.execution.id)
        assert result.exc_string == (
            "Worker gone ended (signal 9). Its outcome is unknown: how far it came, nobody can tell."
        )
        ((_, fields),) = queue.connection.xrange(KEYS.events)
        body = json.loads(fields[b"body"])
        assert body.pop("at") == pytest.approx(time.time(), abs=60)
        assert fields[b"type"] == b"job.failed"
        assert body == SIGNATURE | {
            "worker": "gone",
            "pool_uid": "pool-uid",
            "config": 7,
            "job_id": run.job.id,
            "queue": "mail",
        }

    def test_its_result_says_where_it_ran_as_its_execution_did(self, queue: Queue) -> None:
        run = started(queue)
        queue.connection.hset(run.execution.key, mapping={"pw_host": "dead-host", "pw_config": 6})
        decided(queue)
        ((_, fields),) = queue.connection.xrange(Result.get_key(run.job.id))
        assert (fields[b"pw_host"], fields[b"pw_config"]) == (b"dead-host", b"6")

    @pytest.mark.parametrize(
        "options",
        [{}, {"failure_ttl": 100}, {"failure_ttl": -1}, {"failure_ttl": 0}, {"ttl": 50}, {"retry": Retry(max=1)}],
        ids=["plain", "own failure ttl", "kept for ever", "not kept", "own ttl", "own retry"],
    )
    def test_it_leaves_what_rqs_own_failure_leaves(self, queue: Queue, options: dict[str, Any]) -> None:
        run = started(queue, job_id="j", **options)
        client = queue.connection
        before = {key: (client.dump(key), max(0, client.pttl(key))) for key in client.keys("*")}
        _fail_as_rq(run, queue)
        theirs = snapshot(client)
        client.flushall()
        for key, (value, ttl) in before.items():
            client.restore(key, ttl, value)
        decided(queue)
        assert snapshot(client) == theirs

    def test_dependents_and_rate_limits_are_left_to_upkeep(self, queue: Queue) -> None:
        alone, parent = started(queue), started(queue, "other")
        queue.enqueue("tasks.add", depends_on=parent.job)
        decided(queue)
        assert queue.connection.keys(KEYS.unsettled("*")) == []
        decided(queue, Order(Lost("other", "Lost."), "pool-uid", 7, 3600))
        assert queue.connection.smembers(KEYS.unsettled("mail")) == {parent.job.id.encode()}
        assert alone.job.id != parent.job.id


class TestAgain:
    def test_at_least_once_goes_to_the_head_and_keeps_a_record(self, queue: Queue) -> None:
        run, waiting = started(queue), queue.enqueue("tasks.add")
        redelivered(queue, run.job)
        assert decided(queue) == {run.job.id: "again"}
        assert queue.job_ids == [run.job.id, waiting.id]
        assert places(queue.connection, "mail", run.job.id) == ["queue"]
        run.job.refresh()
        assert (run.job.get_status(), run.job.number_of_retries) == ("queued", 1)
        result = run.job.latest_result()
        assert result is not None and result.type == Result.Type.RETRIED
        assert (result.worker_name, result.execution_id) == ("gone", run.execution.id)
        assert result.exc_string == "Worker gone ended (signal 9). It was put back into its queue."
        assert queue.connection.xlen(KEYS.events) == 0

    def test_after_so_many_lost_runs_it_is_a_dead_letter(self, queue: Queue) -> None:
        job = queue.enqueue("tasks.add")
        redelivered(queue, job, losses=3)
        for outcome in ("again", "again", "too_often"):
            begin(queue, job)
            assert decided(queue) == {job.id: outcome}
        assert places(queue.connection, "mail", job.id) == ["failed"]
        assert [result.type for result in job.results()] == [
            Result.Type.FAILED,
            Result.Type.RETRIED,
            Result.Type.RETRIED,
        ]
        assert "lost as often as its policy allows" in (job.results()[0].exc_string or "")

    def test_own_retry_waits_for_its_interval(self, queue: Queue) -> None:
        run = started(queue, retry=Retry(max=2, interval=[60, 120]))
        assert decided(queue) == {run.job.id: "again"}
        assert places(queue.connection, "mail", run.job.id) == ["scheduled"]
        due = queue.connection.zscore("rq:scheduled:mail", run.job.id)
        assert due == pytest.approx(time.time() + 60, abs=10)
        run.job.refresh()
        assert (run.job.get_status(), run.job.retries_left) == ("scheduled", 1)

    def test_claimed_job_goes_back_to_the_head(self, queue: Queue) -> None:
        first, second = queue.enqueue("tasks.add"), queue.enqueue("tasks.add")
        assert Claims(KEYS, "gone").take(queue.connection, [queue]) == Claim("mail", first.id)
        assert decided(queue) == {}
        assert queue.job_ids == [first.id, second.id]


class TestOnlyOnce:
    def test_second_decision_finds_nothing(self, queue: Queue) -> None:
        run = started(queue)
        redelivered(queue, run.job)
        assert decided(queue) == {run.job.id: "again"}
        assert decided(queue) == {}
        assert places(queue.connection, "mail", run.job.id) == ["queue"]

    def test_two_who_decide_at_once_decide_once(self, queue: Queue, valkey: ValkeyServer) -> None:
        for _ in range(20):
            run = started(queue)
            redelivered(queue, run.job)
            with ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(lambda _: reap(valkey.client, KEYS, ORDER, SIGNATURE), range(4)))
            assert [answer for answer in answers if answer] == [{run.job.id: "again"}]
            assert places(queue.connection, "mail", run.job.id) == ["queue"]

    def test_worker_that_showed_life_is_left_alone(self, queue: Queue) -> None:
        run = started(queue)
        order = Order(ORDER.lost, "pool-uid", 7, 3600, seen=_sign(queue))
        run.worker.heartbeat()
        assert decided(queue, order) is None
        assert places(queue.connection, "mail", run.job.id) == ["started"]
        assert decided(queue, Order(ORDER.lost, "pool-uid", 7, 3600, seen=_sign(queue))) == {run.job.id: "unknown"}

    def test_job_that_has_ended_is_left_as_it_is(self, queue: Queue) -> None:
        run = started(queue)
        queue.connection.hset(run.job.key, "status", "finished")
        assert decided(queue) == {}
        assert queue.connection.zcard("rq:wip:mail") == 0
        assert run.job.get_status() == "finished"

    def test_job_that_runs_elsewhere_is_left_alone(self, queue: Queue) -> None:
        run = started(queue)
        other = begin(queue, run.job, "other")
        assert decided(queue) == {}
        assert queue.connection.zrange("rq:wip:mail", 0, -1) == [other.execution.composite_key.encode()]
        assert run.job.get_status() == "started"

    def test_record_that_is_gone_stops_nothing(self, queue: Queue) -> None:
        vanished, run = started(queue), started(queue)
        queue.connection.delete(vanished.job.key)
        assert decided(queue) == {run.job.id: "unknown"}


def _sign(queue: Queue) -> str:
    with queue.connection.pipeline() as pipeline:
        sign(pipeline, KEYS, "gone")
        return sign_of(*pipeline.execute())


def _fail_as_rq(run: Run, queue: Queue) -> None:
    """The failure path that a live worker of a pool takes when its horse is dead."""
    identity = Identity("host-1", "host", "pool-uid", "pool", "gone", 7)
    bound = PoolJob.bind(keys=KEYS, identity=identity, policy=Policy(180, 3600, ()))
    job = bound.fetch(run.job.id, connection=queue.connection)
    job.ended_at = now()
    job.failure.execution, job.failure.worker = run.execution, "gone"
    run.worker.handle_job_failure(job, queue, exc_string="why", execution=run.execution)


class Near(float):
    """Seconds, as good as another moment's of the same minute."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and abs(self - other) < 60


def snapshot(client: Any) -> dict[str, Any]:
    """Everything that is rq's but the dead worker's own record; times, texts and what varies by nature are marks."""
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"hash": lambda key: {field: _mark(field, value) for field, value in client.hgetall(key).items()},
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: [(member, Near(score)) for member, score in client.zrange(key, 0, -1, withscores=True)],
        b"set": client.smembers,
        b"stream": lambda key: [sorted(fields) for _, fields in client.xrange(key)],
    }
    kept = [key for key in sorted(client.keys("rq:*")) if not key.startswith(b"rq:worker:")]
    return {key.decode(): (readers[client.type(key)](key), Near(client.ttl(key))) for key in kept}


def _mark(field: bytes, value: bytes) -> Any:
    return len(value) > 0 if field in (b"enqueued_at", b"ended_at", b"last_heartbeat") else value
