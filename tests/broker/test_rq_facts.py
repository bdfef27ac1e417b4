"""What this package takes for granted about RQ 3.0, shown. A failure here means that RQ has changed under us."""

import base64
import time
import zlib
from datetime import UTC, datetime

import pytest
import redis
from rq import Callback, Queue, Retry
from rq.executions import Execution
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.worker import SimpleWorker

from pools.broker.connection import Broker
from pools.broker.moves import Outcome, requeue
from tests.broker import jobs
from tests.broker.conftest import Work
from tests.support.in_process import InProcessWorker


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    return Queue("mail", connection=client)


def failed(queue: Queue, work: Work, **options: object) -> Job:
    queue.enqueue(jobs.fails, job_id="one", **options)
    work()
    return Job.fetch("one", connection=queue.connection)


def test_a_failed_jobs_score_is_when_it_expires(queue: Queue, work: Work) -> None:
    failed(queue, work, failure_ttl=600)
    score = queue.connection.zscore("rq:failed:mail", "one")
    assert score == pytest.approx(time.time() + 600, abs=5)


def test_a_failed_job_that_never_expires_has_the_score_minus_one(queue: Queue, work: Work) -> None:
    failed(queue, work, failure_ttl=-1)
    assert queue.connection.zscore("rq:failed:mail", "one") == -1


def test_counting_sweeps_the_registry(queue: Queue, work: Work) -> None:
    failed(queue, work)
    queue.connection.zadd("rq:failed:mail", {"one": time.time() - 1})
    assert FailedJobRegistry(queue=queue).count == 0
    assert queue.connection.zcard("rq:failed:mail") == 0


def test_counting_running_jobs_fails_the_abandoned_ones_with_their_callbacks(queue: Queue) -> None:
    """In the process that looks: this is why nothing here asks RQ to count."""
    job = queue.enqueue(jobs.succeeds, job_id="one", on_failure=Callback(jobs.on_failure))
    with queue.connection.pipeline() as pipeline:
        Execution.create(job, 60, pipeline, "w1")
        job.prepare_for_execution("w1", pipeline)
        pipeline.execute()
    [member] = queue.connection.zrange("rq:wip:mail", 0, -1)
    queue.connection.zadd("rq:wip:mail", {member: time.time() - 1})
    assert StartedJobRegistry(queue=queue).count == 0
    assert job.get_status() == "failed"


def test_the_traceback_lies_in_the_results_and_not_in_the_hash(queue: Queue, work: Work) -> None:
    failed(queue, work)
    [(_, result)] = queue.connection.xrange("rq:results:one")
    printed = zlib.decompress(base64.b64decode(result[b"exc_string"])).decode()
    assert result[b"type"] == b"2"
    assert printed.splitlines()[0] == "Traceback (most recent call last):"
    assert queue.connection.hget("rq:job:one", "exc_info") is None


def test_only_the_last_of_several_attempts_leaves_a_result(queue: Queue, work: Work) -> None:
    failed(queue, work, retry=Retry(max=2))
    assert queue.connection.xlen("rq:results:one") == 1


def test_requeue_keeps_no_retries_and_stamps_a_new_time(queue: Queue, work: Work) -> None:
    before = failed(queue, work, retry=Retry(max=1))
    after = FailedJobRegistry(queue=queue).requeue("one")
    assert after.retries_left == 0
    assert before.enqueued_at
    assert after.enqueued_at
    assert after.enqueued_at > before.enqueued_at


def test_rqs_requeue_can_lose_a_job_and_ours_cannot(broker: Broker, queue: Queue, work: Work) -> None:
    """RQ takes the job out of the registry first and pushes it in a second step; a push that fails shows the gap."""
    failed(queue, work)
    queue.enqueue(jobs.fails, job_id="two")
    work()
    queue.connection.set(queue.key, "not a list")
    with pytest.raises(redis.ResponseError):
        FailedJobRegistry(queue=queue).requeue("one")
    assert [result.outcome for result in requeue(broker, [("two", "mail")])] == [Outcome.DAMAGED]
    queue.connection.delete(queue.key)
    assert queue.connection.zrange("rq:failed:mail", 0, -1) == [b"two"]


def test_delete_takes_the_results_along(queue: Queue, work: Work) -> None:
    """Earlier versions left them behind."""
    failed(queue, work).delete()
    assert queue.connection.exists("rq:results:one") == 0


def test_a_busy_worker_lists_its_execution_under_its_own_name(queue: Queue, client: redis.Redis) -> None:
    seen = []

    class Looking(InProcessWorker):
        def perform_job(self, job: Job, queue: Queue, *args: object) -> bool:
            [composite] = client.smembers("rq:worker:w1:executions")
            seen.append(
                (composite.decode(), client.hgetall(b"rq:execution:" + composite), client.hgetall("rq:worker:w1"))
            )
            return bool(super().perform_job(job, queue, *args))

    queue.enqueue(jobs.succeeds, job_id="one")
    Looking([queue], connection=client, name="w1").work(burst=True, logging_level="CRITICAL")
    [(composite, execution, worker)] = seen
    assert composite.startswith("one:")
    assert datetime.fromtimestamp(float(execution[b"created_at"]), UTC) <= datetime.now(UTC)
    assert b"current_job" not in worker
    assert {b"birth", b"last_heartbeat", b"hostname", b"pid", b"queues", b"state", b"version"} <= worker.keys()


def test_an_idle_stock_worker_says_nothing_for_minutes(client: redis.Redis) -> None:
    """So a heartbeat cannot tell an idle worker from a dead one; its connection can."""
    assert SimpleWorker(["mail"], connection=client).dequeue_timeout > 400
