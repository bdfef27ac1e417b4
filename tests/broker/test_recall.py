"""Recall takes a requeue back: the broker is as it was before, and what has been taken by a worker stays with it."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone
from rq import Queue
from rq.job import Job

from pools.broker.connection import Broker
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.broker.moves import NO_EXC_INFO, RECALL_CHUNK, SEARCHED, Failure, Outcome, recall, requeue
from tests.broker import jobs
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.broker.test_moves_like_rq import KINDS, Prepare, rate_limited_waiting, work
from tests.support.in_process import InProcessWorker

RECEIPT = "pw:moved:7:recall:1"


def failure(job: FailedJob, queue: str = "mail") -> Failure:
    """As the read model knows it."""
    assert job.failed_at is not None
    return Failure(job.job_id, queue, job.enqueued_at, job.started_at, job.failed_at, job.expires_at)


def failures(broker: Broker, *ids: str) -> list[Failure]:
    found = read_failed(broker, ids, dict.fromkeys(ids, "mail"))
    return [failure(job) for job in found if isinstance(job, FailedJob)]


def outcomes(broker: Broker, known: list[Failure], receipt: str = "") -> list[Outcome]:
    return [result.outcome for result in recall(broker, known, receipt)]


def told(found: dict[str, Any]) -> dict[str, Any]:
    """The key space without scores and the job's end, which the read model has to the millisecond, and without what a
    requeue writes for "nothing"."""
    for key, (expires, value) in found.items():
        if key == "rq:job:one":
            nothing = ((b"exc_info", NO_EXC_INFO), (b"enqueue_at_front", b"0"))
            kept = {name: text for name, text in value.items() if (name, text) not in nothing and name != b"ended_at"}
            found[key] = (expires, kept)
        if key == "rq:failed:mail":
            found[key] = (expires, sorted(value))
        if key.startswith("rq:rl:") and ":" in key.removeprefix("rq:rl:"):
            found[key] = (expires, sorted(value))
    return found


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize(
    "prepare", [kind for kind in KINDS if kind is not rate_limited_waiting], ids=lambda k: k.__name__
)
def test_a_requeue_and_its_recall_change_nothing(
    broker: Broker, client: redis.Redis, prepare: Prepare, serializer: str
) -> None:
    """All of RQ's kinds of jobs, whole key spaces; the timeout that a requeue fills in stays."""
    queue = Queue("mail", connection=client, serializer=serializer)
    prepare(client, queue)
    work(client, queue)
    client.hsetnx("rq:job:one", "timeout", 180)
    before, score = told(dump(client)), client.zscore("rq:failed:mail", "one")
    known = failures(broker, "one")
    assert [result.outcome for result in requeue(broker, [("one", "mail")])] == [Outcome.REQUEUED]
    assert outcomes(broker, known) == [Outcome.RECALLED]
    after = told(dump(client))
    after.pop("rq:rl-keys", None), before.pop("rq:rl-keys", None)
    assert after == before
    now = client.zscore("rq:failed:mail", "one")
    assert score is not None and now is not None and abs(now - score) < 2
    ended = Job.fetch("one", connection=client, serializer=serializer).ended_at
    assert ended is not None and known[0].failed_at - ended < timedelta(seconds=1)


def test_a_recalled_job_can_be_requeued_by_rq_itself(broker: Broker, client: redis.Redis) -> None:
    queue = Queue("mail", connection=client)
    queue.enqueue(jobs.fails, job_id="one")
    work(client, queue)
    known = failures(broker, "one")
    requeue(broker, [("one", "mail")])
    recall(broker, known)
    job = Job.fetch("one", connection=client)
    assert job.get_status() == "failed" and len(job.results()) == 1
    job.requeue()
    assert client.lrange("rq:queue:mail", 0, -1) == [b"one"]


def test_a_slot_that_a_recalled_job_held_goes_to_the_next(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", rate_limit_key="api", rate_limit_concurrency=1)
    known = failures(broker, "one")
    requeue(broker, [("one", "mail")])
    assert client.zrange("rq:rl:api:allowed", 0, -1) == [b"one"]
    write_failed(client, "two", rate_limit_key="api", rate_limit_concurrency=1)
    waits = failures(broker, "two")
    requeue(broker, [("two", "mail")])
    assert client.hget("rq:job:two", "status") == b"rate_limited"
    assert outcomes(broker, known) == [Outcome.RECALLED]
    assert client.zrange("rq:rl:api:allowed", 0, -1) == [b"two"]
    assert client.lrange("rq:queue:mail", 0, -1) == [b"two"]
    assert outcomes(broker, waits) == [Outcome.RECALLED] and client.zcard("rq:rl:api:allowed") == 0


def test_one_that_waits_for_a_slot_is_recalled_from_there(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two", rate_limit_key="api", rate_limit_concurrency=1)
    known = failures(broker, "one", "two")
    requeue(broker, [("one", "mail"), ("two", "mail")])
    assert outcomes(broker, known[1:]) == [Outcome.RECALLED]
    assert client.zcard("rq:rl:api:rate_limited") == 0 and client.zrange("rq:rl:api:allowed", 0, -1) == [b"one"]


@pytest.mark.parametrize("status", ["started", "finished", "failed", "scheduled", "canceled"])
def test_what_no_longer_waits_stays(broker: Broker, client: redis.Redis, status: str) -> None:
    write_failed(client, "one")
    known = failures(broker, "one")
    requeue(broker, [("one", "mail")])
    client.hset("rq:job:one", "status", status)
    client.lrem("rq:queue:mail", 0, "one")
    before = dump(client)
    assert outcomes(broker, known) == [Outcome.NOT_QUEUED] and dump(client) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda client: client.lrem("rq:queue:mail", 0, "one"),
        lambda client: client.delete("rq:job:one"),
        lambda client: (client.delete("rq:job:one"), client.set("rq:job:one", "text")),
        lambda client: (client.delete("rq:queue:mail"), client.set("rq:queue:mail", "text")),
        lambda client: (client.delete("rq:failed:mail"), client.set("rq:failed:mail", "text")),
        lambda client: client.hset("rq:job:one", "origin", "other"),
    ],
    ids=["taken, not started", "gone", "not a hash", "queue is no list", "registry is no set", "another queue"],
)
def test_whatever_is_odd_stays_as_it_is(broker: Broker, client: redis.Redis, damage: Any) -> None:
    write_failed(client, "one")
    known = failures(broker, "one")
    requeue(broker, [("one", "mail")])
    damage(client)
    before = dump(client)
    assert outcomes(broker, known) == [Outcome.NOT_QUEUED] and dump(client) == before


def test_the_same_call_again_reports_the_same(broker: Broker, client: redis.Redis) -> None:
    """Also when the recalled job was requeued, or ran, since."""
    write_failed(client, "one", "two")
    known = failures(broker, "one", "two")
    requeue(broker, [("one", "mail"), ("two", "mail")])
    assert outcomes(broker, known, RECEIPT) == [Outcome.RECALLED] * 2
    requeue(broker, [("one", "mail")])
    before = dump(client)
    assert outcomes(broker, known, RECEIPT) == [Outcome.RECALLED] * 2 and dump(client) == before
    assert outcomes(broker, known[1:]) == [Outcome.NOT_QUEUED]


def test_an_expiry_that_has_passed_leaves_time_to_act(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two")
    known = failures(broker, "one", "two")
    requeue(broker, [("one", "mail"), ("two", "mail")])
    past = Failure("one", "mail", None, None, timezone.now(), timezone.now() - timedelta(days=1))
    never = Failure("two", "mail", None, None, known[1].failed_at, None)
    assert outcomes(broker, [past, never]) == [Outcome.RECALLED] * 2
    assert 590 < client.ttl("rq:job:one") <= 600 and client.ttl("rq:job:two") == -1
    assert client.zscore("rq:failed:mail", "two") == -1


def test_many_on_several_queues_in_the_order_given(broker: Broker, client: redis.Redis) -> None:
    ids = [f"a-{n}" for n in range(2 * RECALL_CHUNK + 3)]
    write_failed(client, *ids, queue="a")
    write_failed(client, "b-0", queue="b")
    known = [
        failure(job, "a") for job in read_failed(broker, ids, dict.fromkeys(ids, "a")) if isinstance(job, FailedJob)
    ]
    known += [failure(job, "b") for job in read_failed(broker, ["b-0"], {"b-0": "b"}) if isinstance(job, FailedJob)]
    requeue(broker, [(one.job_id, one.queue) for one in known])
    results = recall(broker, known[::-1])
    assert [result.job_id for result in results] == [one.job_id for one in known[::-1]]
    assert Counter(result.outcome for result in results) == {Outcome.RECALLED: len(known)}
    assert client.zcard("rq:failed:a") == len(ids) and client.zcard("rq:failed:b") == 1


def test_from_a_long_queue_fewer_at_once(broker: Broker, client: redis.Redis) -> None:
    """A script call looks at about so many entries, however many jobs came after."""
    ids = [f"job-{n}" for n in range(8)]
    write_failed(client, *ids)
    known = failures(broker, *ids)
    requeue(broker, [(job_id, "mail") for job_id in ids])
    client.rpush("rq:queue:mail", *["other"] * (SEARCHED // 4))
    client.config_resetstat()
    assert outcomes(broker, known[::-1]) == [Outcome.RECALLED] * 8
    stats = client.info("commandstats")
    calls = sum(stats[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval") if f"cmdstat_{name}" in stats)
    assert calls >= 8 / 3


def test_a_queue_that_is_no_list_is_left_alone(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    known = failures(broker, "one")
    requeue(broker, [("one", "mail")])
    client.set("rq:queue:mail", "not a queue")
    before = dump(client)
    assert outcomes(broker, known) == [Outcome.NOT_QUEUED] and dump(client) == before


def test_a_worker_that_takes_jobs_meanwhile_loses_none(broker: Broker, client: redis.Redis) -> None:
    """Some are taken before: each job runs, or is a dead letter again."""
    ids = [f"job-{n}" for n in range(30)]
    queue = Queue("mail", connection=client)
    for job_id in ids:
        queue.enqueue(jobs.fails, job_id=job_id)
    work(client, queue)
    known = failures(broker, *ids)
    requeue(broker, [(job_id, "mail") for job_id in ids])
    InProcessWorker([queue], connection=client, name="w2").work(burst=True, max_jobs=7, logging_level="CRITICAL")
    found = Counter(outcomes(broker, known))
    assert found == {Outcome.RECALLED: 23, Outcome.NOT_QUEUED: 7}
    assert client.zcard("rq:failed:mail") == 30 and client.llen("rq:queue:mail") == 0
    assert Counter(len(Job.fetch(job_id, connection=client).results()) for job_id in ids) == {1: 23, 2: 7}
