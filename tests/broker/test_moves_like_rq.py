"""Our moves against RQ's own, on two databases that held the same: whole key spaces, field by field."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from rq import Callback, Queue, Retry
from rq.group import Group
from rq.job import Dependency, Job
from rq.rate_limit import RateLimit
from rq.registry import FailedJobRegistry

from pools.broker.connection import Broker
from pools.broker.moves import Change, MoveResult, Outcome, edit, requeue
from pools.broker.payload_edit import editable, packed
from pools.broker.shelf import discard
from tests.broker import jobs
from tests.broker.keyspace import copy_all, dump
from tests.support.in_process import InProcessWorker
from tests.support.valkey import ValkeyServer

TIMES = {b"enqueued_at", b"created_at"}


@dataclass
class Twins:
    """Two databases of one Valkey: RQ moves in the first, we move in the second."""

    rqs: redis.Redis
    ours: redis.Redis
    broker: Broker


@pytest.fixture
def twins(valkey: ValkeyServer) -> Iterator[Twins]:
    second = valkey.url.removesuffix("/0") + "/1"
    yield Twins(redis.Redis.from_url(valkey.url), redis.Redis.from_url(second), Broker("twin", second))


def work(client: redis.Redis, queue: Queue) -> None:
    worker = InProcessWorker([queue], connection=client, serializer=queue.serializer, name="w")
    worker.work(burst=True, logging_level="CRITICAL")


type Prepare = Callable[[redis.Redis, Queue], Job]


def plain(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, 1, order=2, job_id="one")


def with_ttl(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", ttl=5000, result_ttl=70, failure_ttl=900, job_timeout=33)


def forever(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", failure_ttl=-1, job_timeout=-1)


def retried(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", retry=Retry(max=2, interval=[0, 0], enqueue_at_front=True))


def at_front(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", at_front=True)


def with_meta(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", meta={"tenant": "acme", "nested": {"a": [1, 2]}})


def described(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", description="Bill “Ötzi”\nwith (brackets)")


def with_callbacks(client: redis.Redis, queue: Queue) -> Job:
    callback = Callback(jobs.on_failure, timeout=17)
    return queue.enqueue(jobs.fails, job_id="one", on_failure=callback, on_stopped=callback, on_success=callback)


def failed_twice(client: redis.Redis, queue: Queue) -> Job:
    job = queue.enqueue(jobs.fails, job_id="one")
    work(client, queue)
    job.refresh()
    return job.requeue()


def with_parent(client: redis.Redis, queue: Queue) -> Job:
    parent = queue.enqueue(jobs.succeeds, job_id="parent")
    return queue.enqueue(jobs.fails, job_id="one", depends_on=parent)


def with_failed_parent(client: redis.Redis, queue: Queue) -> Job:
    parent = queue.enqueue(jobs.fails, job_id="parent")
    return queue.enqueue(jobs.fails, job_id="one", depends_on=Dependency([parent], allow_failure=True))


def with_children(client: redis.Redis, queue: Queue) -> Job:
    job = queue.enqueue(jobs.fails, job_id="one")
    queue.enqueue(jobs.succeeds, job_id="child", depends_on=job)
    Queue("other", connection=client).enqueue(jobs.succeeds, job_id="far", depends_on=["one"])
    return job


def grouped(client: redis.Redis, queue: Queue) -> Job:
    data = [Queue.prepare_data(jobs.fails, job_id="one"), Queue.prepare_data(jobs.succeeds, job_id="sibling")]
    return Group.create(connection=client, name="batch").enqueue_many(queue, data)[0]


def rate_limited(client: redis.Redis, queue: Queue) -> Job:
    return queue.enqueue(jobs.fails, job_id="one", rate_limit=RateLimit("api", 2))


def rate_limited_waiting(client: redis.Redis, queue: Queue) -> Job:
    """The limit is exhausted by a job of a queue that nobody works on, once ours has failed."""
    job = queue.enqueue(jobs.fails, job_id="one", rate_limit=RateLimit("api", 1))
    work(client, queue)
    other = Queue("other", connection=client)
    other.enqueue(jobs.succeeds, job_id="holder", rate_limit=RateLimit("api", 1))
    other.enqueue(jobs.succeeds, job_id="waiter", rate_limit=RateLimit("api", 1))
    return job


def uncounted_timeout(client: redis.Redis, queue: Queue) -> Job:
    """A record without a timeout gets RQ's default."""
    job = plain(client, queue)
    work(client, queue)
    client.hdel(job.key, "timeout")
    return job


KINDS: list[Prepare] = [
    plain, with_ttl, forever, retried, at_front, with_meta, described, with_callbacks, failed_twice, with_parent,
    with_failed_parent, with_children, grouped, rate_limited, rate_limited_waiting, uncounted_timeout,
]  # fmt: skip


def fail_in_both(twins: Twins, prepare: Prepare, serializer: str) -> None:
    """The same failed job in both databases, and a job that waits before it."""
    queue = Queue("mail", connection=twins.rqs, serializer=serializer)
    prepare(twins.rqs, queue)
    work(twins.rqs, queue)
    assert twins.rqs.zscore("rq:failed:mail", "one") is not None
    queue.enqueue(jobs.succeeds, job_id="first")
    copy_all(twins.rqs, twins.ours)


def in_rq(twins: Twins, serializer: str) -> FailedJobRegistry:
    return FailedJobRegistry("mail", connection=twins.rqs, serializer=serializer)


def normalised(twin: redis.Redis, times: set[bytes]) -> dict[str, Any]:
    """The key space without the times that the move itself sets."""
    found = dump(twin)
    for key, (expires, value) in found.items():
        if key.startswith("rq:job:") and isinstance(value, dict):
            found[key] = (expires, {name: b"now" if name in times else text for name, text in value.items()})
        if key.startswith("rq:rl:") and isinstance(value, dict):
            found[key] = (expires, sorted(value) if ":" in key.removeprefix("rq:rl:") else value)
    return found


def without_expiry(found: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """The one permitted difference: RQ leaves the failure's expiry on the job and on its sets of dependencies."""
    return {key: (expires and key not in keys, value) for key, (expires, value) in found.items()}


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("prepare", KINDS, ids=lambda kind: kind.__name__)
def test_requeue_leaves_what_rqs_requeue_leaves(twins: Twins, prepare: Prepare, serializer: str) -> None:
    fail_in_both(twins, prepare, serializer)
    in_rq(twins, serializer).requeue("one")
    assert requeue(twins.broker, [("one", "mail")]) == [MoveResult("one", Outcome.REQUEUED)]
    expected, ours = normalised(twins.rqs, {b"enqueued_at"}), normalised(twins.ours, {b"enqueued_at"})
    if prepare is with_ttl:
        assert ours["rq:job:one"][0], "a job's own ttl still ends it"
        assert abs(twins.ours.ttl("rq:job:one") - twins.rqs.ttl("rq:job:one")) <= 1
    else:
        assert not ours["rq:job:one"][0]
        expected = without_expiry(expected, ["rq:job:one", "rq:job:one:dependents", "rq:job::one:dependencies"])
    assert ours == expected


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("prepare", KINDS, ids=lambda kind: kind.__name__)
def test_a_move_leaves_what_a_requeue_of_a_job_with_another_origin_leaves(
    twins: Twins, prepare: Prepare, serializer: str
) -> None:
    """RQ has no function for it; this is what one would write with its own."""
    fail_in_both(twins, prepare, serializer)
    job = Job.fetch("one", connection=twins.rqs, serializer=serializer)
    job.origin = "slow"
    in_rq(twins, serializer).requeue(job)
    moved = requeue(twins.broker, [("one", "mail")], to_queue="slow")
    assert moved == [MoveResult("one", Outcome.REQUEUED)]
    for twin in (twins.rqs, twins.ours):
        twin.sadd("rq:queues", "rq:queue:slow")  # RQ lists the queue at its first ordinary enqueue; we at once
    expected, ours = normalised(twins.rqs, {b"enqueued_at"}), normalised(twins.ours, {b"enqueued_at"})
    keys = ["rq:job:one", "rq:job:one:dependents", "rq:job::one:dependencies"]
    assert without_expiry(ours, keys) == without_expiry(expected, keys)
    assert bool(ours["rq:job:one"][0]) == (prepare is with_ttl)
    assert twins.ours.hget("rq:job:one", "origin") == b"slow" and not twins.ours.zscore("rq:failed:mail", "one")


def test_a_moved_job_runs_in_the_other_queue_and_fails_there(twins: Twins) -> None:
    fail_in_both(twins, with_children, "json")
    requeue(twins.broker, [("one", "mail")], to_queue="slow")
    work(twins.ours, Queue("mail", connection=twins.ours, serializer="json"))
    assert Job.fetch("one", connection=twins.ours, serializer="json").get_status() == "queued"
    work(twins.ours, Queue("slow", connection=twins.ours, serializer="json"))
    assert twins.ours.zscore("rq:failed:slow", "one") and not twins.ours.zscore("rq:failed:mail", "one")


def test_a_move_that_is_sent_again_with_its_receipt_moves_nothing(twins: Twins) -> None:
    fail_in_both(twins, plain, "pickle")
    for _ in range(2):
        moved = requeue(twins.broker, [("one", "mail")], receipt="pw:moved:x", to_queue="slow")
        assert moved == [MoveResult("one", Outcome.REQUEUED)]
        assert twins.ours.lrange("rq:queue:slow", 0, -1) == [b"one"]
    assert requeue(twins.broker, [("one", "mail")], to_queue="slow") == [MoveResult("one", Outcome.NOT_FAILED)]


@pytest.mark.parametrize("prepare", KINDS, ids=lambda kind: kind.__name__)
def test_an_edit_leaves_what_a_requeue_of_a_job_with_other_arguments_leaves(twins: Twins, prepare: Prepare) -> None:
    fail_in_both(twins, prepare, "json")
    job = Job.fetch("one", connection=twins.rqs, serializer="json")
    assert job.func_name  # RQ takes the payload apart only when asked, and could not put it together again
    job.args, job.kwargs = [7, "ü"], {"order": {"a": [1.5, None]}}
    in_rq(twins, "json").requeue(job)
    stored = twins.ours.hget("rq:job:one", "data") or b""
    change = Change(stored, packed(editable(stored).with_arguments([7, "ü"], {"order": {"a": [1.5, None]}})))
    assert edit(twins.broker, ("one", "mail"), change, datetime.now(UTC)) == [MoveResult("one", Outcome.REQUEUED)]
    expected, ours = normalised(twins.rqs, {b"enqueued_at"}), normalised(twins.ours, {b"enqueued_at"})
    keys = ["rq:job:one", "rq:job:one:dependents", "rq:job::one:dependencies"]
    assert without_expiry(ours, keys) == without_expiry(expected, keys)
    assert Job.fetch("one", connection=twins.ours, serializer="json").args == [7, "ü"]


@pytest.mark.parametrize("seen", [b"", b"something else"])
def test_a_payload_that_is_not_what_was_seen_is_left_alone(twins: Twins, seen: bytes) -> None:
    fail_in_both(twins, plain, "json")
    if not seen:
        twins.ours.hset("rq:job:one", "data", "")
    before = dump(twins.ours)
    found = edit(twins.broker, ("one", "mail"), Change(seen, b"new"), datetime.now(UTC), "pw:moved:x")
    assert found == [MoveResult("one", Outcome.CHANGED)] and dump(twins.ours) == before


def test_an_edit_that_is_sent_again_with_its_receipt_changes_nothing(twins: Twins) -> None:
    fail_in_both(twins, plain, "json")
    change = Change(twins.ours.hget("rq:job:one", "data") or b"", b"new")
    for again in (change, change, Change(b"", b"")):
        found = edit(twins.broker, ("one", "mail"), again, datetime.now(UTC), "pw:moved:x")
        assert found == [MoveResult("one", Outcome.REQUEUED)]
        assert twins.ours.hget("rq:job:one", "data") == b"new" and twins.ours.llen("rq:queue:mail") == 2


def test_requeue_stamps_the_time_it_is_given(twins: Twins) -> None:
    fail_in_both(twins, plain, "pickle")
    at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    requeue(twins.broker, [("one", "mail")], at)
    assert Job.fetch("one", connection=twins.ours).enqueued_at == at


def test_a_requeued_job_runs_again_in_stock_rq(twins: Twins) -> None:
    fail_in_both(twins, with_meta, "json")
    requeue(twins.broker, [("one", "mail")])
    work(twins.ours, Queue("mail", connection=twins.ours, serializer="json"))
    again = Job.fetch("one", connection=twins.ours, serializer="json")
    assert again.get_status() == "failed"
    assert again.meta == {"tenant": "acme", "nested": {"a": [1, 2]}}
    assert len(again.results()) == 2


def test_a_requeued_job_outlives_its_failure(twins: Twins) -> None:
    """RQ keeps the failure's expiry on a requeued job, so the job may vanish while it waits. We do not."""
    queue = Queue("mail", connection=twins.rqs)
    queue.enqueue(jobs.fails, job_id="one", failure_ttl=600)
    work(twins.rqs, queue)
    copy_all(twins.rqs, twins.ours)
    in_rq(twins, "pickle").requeue("one")
    requeue(twins.broker, [("one", "mail")])
    assert 0 < twins.rqs.ttl("rq:job:one") <= 600
    assert twins.ours.ttl("rq:job:one") == -1
    assert 0 < twins.ours.ttl("rq:results:one") <= 600


def test_a_queue_that_was_removed_is_listed_again(twins: Twins) -> None:
    """The second permitted difference: RQ pushes the job onto a queue that no console can see."""
    fail_in_both(twins, plain, "pickle")
    for twin in (twins.rqs, twins.ours):
        twin.delete("rq:queues")
    in_rq(twins, "pickle").requeue("one")
    requeue(twins.broker, [("one", "mail")])
    assert twins.rqs.smembers("rq:queues") == set()
    assert twins.ours.smembers("rq:queues") == {b"rq:queue:mail"}


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("prepare", KINDS, ids=lambda kind: kind.__name__)
def test_discard_leaves_what_rqs_delete_leaves(twins: Twins, prepare: Prepare, serializer: str) -> None:
    fail_in_both(twins, prepare, serializer)
    in_rq(twins, serializer).remove("one", delete_job=True)
    assert discard(twins.broker, [("one", "mail")]) == [MoveResult("one", Outcome.DISCARDED)]
    assert normalised(twins.ours, TIMES) == normalised(twins.rqs, TIMES)
    assert not any(":one" in key for key in dump(twins.ours))


def test_discard_removes_the_runs_of_a_dead_worker_as_rq_does(twins: Twins) -> None:
    """A worker that was killed leaves its execution behind in four places."""
    fail_in_both(twins, plain, "pickle")
    later = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
    for twin in (twins.rqs, twins.ours):
        twin.zadd("rq:executions:one", {"e1": later})
        twin.zadd("rq:wip:mail", {"one:e1": later})
        twin.sadd("rq:worker:w9:executions", "one:e1")
        twin.hset(
            "rq:execution:one:e1",
            mapping={"id": "e1", "job_id": "one", "created_at": 1, "last_heartbeat": 1, "worker_name": "w9"},
        )
    in_rq(twins, "pickle").remove("one", delete_job=True)
    discard(twins.broker, [("one", "mail")])
    assert dump(twins.ours) == dump(twins.rqs)
    assert not any(":one" in key or "w9" in key for key in dump(twins.ours))


def test_discard_frees_the_slot_of_a_rate_limited_job_as_rq_does(twins: Twins) -> None:
    """A slot that leaked is freed, and the job that waited for it is queued."""
    fail_in_both(twins, rate_limited_waiting, "pickle")
    for twin in (twins.rqs, twins.ours):
        twin.delete("rq:rl:api:allowed")
        twin.zadd("rq:rl:api:allowed", {"one": 1})
    in_rq(twins, "pickle").remove("one", delete_job=True)
    discard(twins.broker, [("one", "mail")])
    assert normalised(twins.ours, TIMES) == normalised(twins.rqs, TIMES)
    assert twins.ours.zrange("rq:rl:api:allowed", 0, -1) == [b"waiter"]
    assert twins.ours.hget("rq:job:waiter", "status") == b"queued"


def test_rqs_empty_exception_text_is_the_one_we_write() -> None:
    from pools.broker.moves import DEFAULT_TIMEOUT, NO_EXC_INFO

    assert zlib.decompress(NO_EXC_INFO) == b""
    assert Queue.DEFAULT_TIMEOUT == DEFAULT_TIMEOUT
