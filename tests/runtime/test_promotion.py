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

from pools.runtime.promoter import promote
from tests.support.valkey import ValkeyServer

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
    promote(client, "rq", "mail")
    assert snapshot(client) == theirs


def test_promotion_stands_back_while_a_stock_scheduler_holds_the_queue(valkey: ValkeyServer) -> None:
    client = valkey.client
    queue = Queue("mail", connection=client)
    job = queue.enqueue_in(PAST, "tasks.add", job_id="j")
    scheduler = RQScheduler([queue], connection=client)
    scheduler.acquire_locks()
    assert promote(client, "rq", "mail") == 0
    scheduler.release_locks()
    assert promote(client, "rq", "mail") == 1
    assert promote(client, "rq", "mail") == 0
    assert queue.job_ids == [job.id]


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
