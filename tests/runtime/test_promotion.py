"""Our promotion of scheduled jobs against rq's own scheduler: the broker must look the same, field by field."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rq import Queue, RateLimit, Retry
from rq.job import Job
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer
from rq.utils import now

from pools.runtime.keys import Keys
from pools.runtime.promoter import MOST_AT_ONCE, Promoter
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

PAST = timedelta(seconds=-5)
Kind = Callable[[Queue], Job]

KINDS: dict[str, Kind] = {
    "plain": lambda q: q.enqueue_in(PAST, "tasks.add", 1, 2, job_id="j"),
    "at front": lambda q: q.enqueue_in(PAST, "tasks.add", job_id="j", at_front=True),
    "with meta, ttls and description": lambda q: q.enqueue_in(
        PAST, "tasks.add", job_id="j", meta={"a": 1}, result_ttl=5, failure_ttl=60, description="d", job_timeout=7
    ),
    "with ttl": lambda q: q.enqueue_in(PAST, "tasks.add", job_id="j", ttl=500),
    "with retries": lambda q: q.enqueue_in(PAST, "tasks.add", job_id="j", retry=Retry(max=3, interval=[1, 2])),
    "retried, at front": lambda q: _ran_before(
        q.enqueue_in(PAST, "tasks.add", job_id="j", retry=Retry(max=3, enqueue_at_front=True))
    ),
    "rate limited, free": lambda q: q.enqueue_in(
        PAST, "tasks.add", job_id="j", rate_limit=RateLimit(key="api", concurrency=2)
    ),
    "rate limited, at front": lambda q: q.enqueue_in(
        PAST, "tasks.add", job_id="j", at_front=True, rate_limit=RateLimit(key="api", concurrency=2)
    ),
    "rate limited, full": lambda q: _after_holder(
        q, lambda: q.enqueue_in(PAST, "tasks.add", job_id="j", rate_limit=RateLimit(key="api", concurrency=1))
    ),
    "vanished": lambda q: _deleted(q.enqueue_in(PAST, "tasks.add", job_id="j")),
    "not yet due": lambda q: q.enqueue_in(timedelta(hours=1), "tasks.add", job_id="j"),
}


def _after_holder(queue: Queue, enqueue: Callable[[], Job]) -> Job:
    queue.enqueue("tasks.add", job_id="holder", rate_limit=RateLimit(key="api", concurrency=1))
    return enqueue()


def _ran_before(job: Job) -> Job:
    job.ended_at = now()
    job.save()
    return job


def _deleted(job: Job) -> Job:
    job.connection.delete(job.key)
    return job


@pytest.mark.parametrize("serializer", [None, JSONSerializer], ids=["pickle", "json"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_promotion_leaves_what_rqs_scheduler_leaves(valkey: ValkeyServer, kind: Kind, serializer: Any) -> None:
    client = valkey.client
    queue = Queue("mail", connection=client, serializer=serializer)
    queue.enqueue("tasks.add", job_id="first")
    kind(queue)
    before = {key: client.dump(key) for key in client.keys("*")}
    ttls = {key: client.pttl(key) for key in before}
    scheduler = RQScheduler([queue], connection=client, serializer=serializer)
    scheduler.acquire_locks()
    scheduler.enqueue_scheduled_jobs()
    scheduler.release_locks()
    theirs = snapshot(client)
    client.flushall()
    for key, value in before.items():
        client.restore(key, max(0, ttls[key]), value)
    promote(client)
    assert snapshot(client) == theirs


def test_promotion_stands_back_while_a_stock_scheduler_holds_the_queue(valkey: ValkeyServer) -> None:
    client = valkey.client
    queue = Queue("mail", connection=client)
    job = queue.enqueue_in(PAST, "tasks.add", job_id="j")
    scheduler = RQScheduler([queue], connection=client)
    scheduler.acquire_locks()
    assert promote(client) == 0
    scheduler.release_locks()
    assert promote(client) == 1
    assert promote(client) == 0
    assert queue.job_ids == [job.id]


def test_a_backlog_is_worked_off_at_once(valkey: ValkeyServer) -> None:
    _schedule(valkey.client, "mail", 3 * MOST_AT_ONCE + 7)
    assert promote(valkey.client) == 3 * MOST_AT_ONCE + 7
    assert len(set(valkey.client.lrange("rq:queue:mail", 0, -1))) == 3 * MOST_AT_ONCE + 7


def test_one_agent_works_off_a_backlog_and_when_it_dies_another_does(valkey: ValkeyServer) -> None:
    client = valkey.client
    _schedule(client, "mail", 1000)
    client.set(Keys().promoting("mail"), "another", px=2000)
    assert promote(client) == 0
    wait_for(lambda: promote(client) == 1000, message="its second is over")
    assert client.pttl(Keys().promoting("mail")) <= 1000
    _schedule(client, "mail", 5)
    assert promote(client) == 5, "the queue is its own"


def test_queues_take_turns(valkey: ValkeyServer) -> None:
    client = valkey.client
    for queue in ("mail", "bulk"):
        _schedule(client, queue, 1200)
    assert promote(client, "mail", "bulk", "empty") == 2400


def promote(client: Any, *queues: str) -> int:
    """Until nothing is left: a tick ends after half a second, however far it came."""
    promoter = Promoter(Keys(), "a")
    return sum(iter(lambda: promoter.tick(client, [*queues] or ["mail"]), 0))


def _schedule(client: Any, queue: str, count: int) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            pipeline.hset(f"rq:job:{queue}-{number}", mapping={"status": "scheduled", "data": "x"})
            pipeline.zadd(f"rq:scheduled:{queue}", {f"{queue}-{number}": 1})
        pipeline.execute()


def snapshot(client: Any) -> dict[str, Any]:
    """Everything on the broker; times of this very moment are replaced by a mark, all else must be equal."""
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"set": client.smembers,
        b"string": client.get,
    }
    found: dict[str, Any] = {}
    for key in sorted(client.keys("*")):
        value = readers[client.type(key)](key)
        if isinstance(value, dict) and b"enqueued_at" in value:
            value[b"enqueued_at"] = len(value[b"enqueued_at"])
        if b":rl:" in key and isinstance(value, list):
            value = [(member, abs(score - time.time()) < 30) for member, score in value]
        found[key.decode()] = (value, client.ttl(key) // 30)
    return found
