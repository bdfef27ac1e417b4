"""Moves under what goes wrong: stale and damaged entries, hostile records, lost answers, kills and races."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry

from pools.broker.connection import Broker, BrokerUnavailable
from pools.broker.moves import CHUNK, Outcome, forget, requeue
from pools.broker.shelf import discard
from pools.broker.skipping import foresee
from tests.broker import jobs
from tests.broker.conftest import Work
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
MOVER = """
import sys
from pools.broker.connection import Broker
from pools.broker.moves import requeue
url, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
step = 25
broker = Broker("default", url)
for start in range(first, last, step):
    for result in requeue(broker, [(f"job-{n}", "mail") for n in range(start, min(start + step, last))]):
        print(result.outcome, flush=True)
"""


def outcomes(broker: Broker, *ids: str) -> list[Outcome]:
    return [result.outcome for result in requeue(broker, [(job_id, "mail") for job_id in ids])]


def test_a_second_requeue_moves_nothing(broker: Broker, client: redis.Redis, work: Work) -> None:
    Queue("mail", connection=client).enqueue(jobs.fails, job_id="one")
    work()
    assert outcomes(broker, "one", "one") == [Outcome.REQUEUED, Outcome.NOT_FAILED]
    assert outcomes(broker, "one") == [Outcome.NOT_FAILED]
    assert client.lrange("rq:queue:mail", 0, -1) == [b"one"]


RECEIPT = "pw:moved:7:1"


def test_the_same_call_again_reports_the_same(broker: Broker, client: redis.Redis) -> None:
    """Its answer was lost: whoever repeats it learns what it did, and nothing moves twice."""
    write_failed(client, "one", "two")
    assert [result.outcome for result in requeue(broker, [("one", "mail")], receipt=RECEIPT)] == [Outcome.REQUEUED]
    again = requeue(broker, [("one", "mail"), ("two", "mail")], receipt=RECEIPT)
    assert [result.outcome for result in again] == [Outcome.REQUEUED, Outcome.REQUEUED]
    assert client.lrange("rq:queue:mail", 0, -1) == [b"one", b"two"]


@pytest.mark.parametrize("job", [jobs.fails, jobs.succeeds], ids=["failed anew", "done and gone"])
def test_the_same_call_again_leaves_alone_what_ran_since(
    broker: Broker, client: redis.Redis, work: Work, job: Callable[..., object]
) -> None:
    """Whoever lost the answer did move the job, whatever became of it since."""
    Queue("mail", connection=client).enqueue(jobs.fails, job_id="one")
    work()
    requeue(broker, [("one", "mail")], receipt=RECEIPT)
    client.hset("rq:job:one", mapping={"data": Job.create(job, connection=client).data, "result_ttl": 0})
    work()
    before = dump(client)
    assert [result.outcome for result in requeue(broker, [("one", "mail")], receipt=RECEIPT)] == [Outcome.REQUEUED]
    assert dump(client) == before


@pytest.mark.parametrize("move", [requeue, discard], ids=["requeue", "discard"])
def test_what_failed_anew_is_left_alone(broker: Broker, client: redis.Redis, work: Work, move: Any) -> None:
    """Its score in the registry says so: whoever chose it saw another failure."""
    queue = Queue("mail", connection=client)
    for job_id in ("one", "two", "three"):
        queue.enqueue(jobs.fails, job_id=job_id)
    work()
    chosen = [("one", "mail"), ("two", "mail"), ("three", "mail")]
    for job_id, _ in chosen:
        client.zincrby("rq:failed:mail", -60, job_id)  # a minute ago: rq's scores are whole seconds
    before = [client.zscore("rq:failed:mail", job_id) for job_id, _ in chosen]
    FailedJobRegistry(queue=queue).requeue("two")
    work()
    there = dump(client)
    (result,) = move(broker, chosen[1:2], scores=before[1:2])
    assert (result.outcome, dump(client)) == (Outcome.FAILED_ANEW, there)
    done = Outcome.REQUEUED if move is requeue else Outcome.DISCARDED
    answers = move(broker, chosen, scores=[*before[:2], None])
    assert [answer.outcome for answer in answers] == [done, Outcome.FAILED_ANEW, done]
    assert client.zrange("rq:failed:mail", 0, -1) == [b"two"]


@pytest.mark.parametrize(
    ("record", "there", "stays"),
    [
        ({"dependency_ids": '["a", "b c"]', "dependency_id": "a"}, ["a", "b c"], False),
        ({"dependency_ids": '["a", "b c"]', "dependency_id": "a"}, ["a"], True),
        ({"dependency_id": "a"}, [], True),
        ({"dependency_id": "a"}, ["a"], False),
        ({"dependency_ids": "[]", "dependency_id": ""}, [], False),
        ({"dependency_ids": "{not json"}, [], False),
        ({"dependency_ids": '[7, null, {"x": 1}]'}, [], True),
    ],
)
def test_a_job_stays_when_one_that_it_depends_on_is_gone(
    broker: Broker, client: redis.Redis, record: dict[str, str], there: list[str], stays: bool
) -> None:
    """If asked for: RQ takes such a dependency as met."""
    write_failed(client, "one", **record)
    for other in there:
        client.hset(f"rq:job:{other}", "status", "finished")
    before, asked = dump(client), [("one", "mail")]
    wanted = Outcome.ORPHANED if stays else Outcome.REQUEUED
    assert foresee(broker, asked, orphans_stay=True) == [wanted] and foresee(broker, asked) == [Outcome.REQUEUED]
    assert dump(client) == before
    (result,) = requeue(broker, asked, orphans_stay=True)
    assert result.outcome == wanted and (dump(client) == before) == stays
    if stays:
        assert [answer.outcome for answer in requeue(broker, asked)] == [Outcome.REQUEUED]


def test_the_same_discard_again_reports_the_same(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two")
    discard(broker, [("one", "mail")], receipt=RECEIPT)
    again = discard(broker, [("one", "mail"), ("two", "mail")], receipt=RECEIPT)
    assert [result.outcome for result in again] == [Outcome.DISCARDED, Outcome.DISCARDED]
    assert [result.outcome for result in discard(broker, [("one", "mail")])] == [Outcome.GONE]


def test_a_receipt_is_forgotten_or_expires(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two")
    requeue(broker, [("one", "mail")], receipt=RECEIPT)
    assert client.smembers(RECEIPT) == {b"one"}
    assert 0 < client.ttl(RECEIPT) <= 7 * 24 * 3600
    forget(broker, RECEIPT)
    assert client.exists(RECEIPT) == 0


def test_an_expired_job_is_gone_and_its_entry_goes_with_discard(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    client.delete("rq:job:one")
    assert outcomes(broker, "one", "never") == [Outcome.GONE, Outcome.GONE]
    assert client.zcard("rq:failed:mail") == 1
    assert [result.outcome for result in discard(broker, [("one", "mail")])] == [Outcome.GONE]
    assert client.zcard("rq:failed:mail") == 0
    assert client.llen("rq:queue:mail") == 0


def test_a_job_that_lives_elsewhere_is_left_alone(broker: Broker, client: redis.Redis, work: Work) -> None:
    """Queue.enqueue_job() on a failed job leaves the registry's entry: another push would run the job twice."""
    queue = Queue("mail", connection=client)
    job = queue.enqueue(jobs.fails, job_id="one")
    work()
    job.refresh()
    queue.enqueue_job(job)
    before = dump(client)
    assert client.zscore("rq:failed:mail", "one") is not None
    assert outcomes(broker, "one") == [Outcome.NOT_FAILED]
    assert [result.outcome for result in discard(broker, [("one", "mail")])] == [Outcome.NOT_FAILED]
    assert dump(client) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda client: client.hdel("rq:job:one", "data"),
        lambda client: client.hdel("rq:job:one", "status"),
        lambda client: client.hdel("rq:job:one", "origin"),
        lambda client: client.hset("rq:job:one", "origin", "root"),
        lambda client: (client.delete("rq:job:one"), client.set("rq:job:one", "text")),
        lambda client: client.set("rq:queue:mail", "text"),
        lambda client: (client.hset("rq:job:one", mapping={"rate_limit_key": "x", "rate_limit_concurrency": 1}),
                        client.set("rq:rl:x:rate_limited", "text")),
    ],
    ids=["no payload", "no status", "no queue", "another queue", "not a hash", "queue is no list", "limit is no set"],
)  # fmt: skip
def test_a_damaged_job_stays_where_it_is(broker: Broker, client: redis.Redis, damage: object) -> None:
    write_failed(client, "one")
    client.delete("rq:queues")
    damage(client)  # type: ignore[operator]
    assert outcomes(broker, "one") == [Outcome.DAMAGED]
    assert client.zscore("rq:failed:mail", "one") is not None
    assert client.exists("rq:queue:root", "rq:queues") == 0


@pytest.mark.parametrize("limit_key", ["rq:rl:x:allowed", "rq:queue:other"])
def test_a_broken_rate_limit_loses_no_job(broker: Broker, client: redis.Redis, limit_key: str) -> None:
    """Keys of another type under the names that a rate limit uses: the job waits, as it would without a free slot."""
    write_failed(client, "one", rate_limit_key="x", rate_limit_concurrency=1)
    write_failed(client, "two", queue="other", status="rate_limited", rate_limit_key="x", rate_limit_concurrency=1)
    client.zrem("rq:failed:other", "two")
    client.zadd("rq:rl:x:rate_limited", {"two": 1})
    client.set(limit_key, "text")
    assert outcomes(broker, "one") == [Outcome.REQUEUED]
    assert set(client.zrange("rq:rl:x:rate_limited", 0, -1)) == {b"one", b"two"}
    assert client.zscore("rq:failed:mail", "one") is None


def test_a_damaged_job_can_be_discarded(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    client.delete("rq:job:one")
    client.set("rq:job:one", "text")
    assert [result.outcome for result in discard(broker, [("one", "mail")])] == [Outcome.DISCARDED]
    assert not any("one" in key for key in dump(client))


def test_results_keep_the_order_of_the_jobs_given(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, *(f"a-{n}" for n in range(CHUNK + 10)), queue="a")
    write_failed(client, "b-0", queue="b")
    given = [("b-0", "b"), *((f"a-{n}", "a") for n in range(CHUNK + 10)), ("missing", "b")]
    results = requeue(broker, given)
    assert [result.job_id for result in results] == [job_id for job_id, _ in given]
    assert Counter(result.outcome for result in results) == {Outcome.REQUEUED: CHUNK + 11, Outcome.GONE: 1}


def test_another_prefix_is_another_world(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    write_failed(client, "one", prefix="acme:{eu}")
    other = Broker("other", broker.url, prefix="acme:{eu}")
    assert outcomes(other, "one") == [Outcome.REQUEUED]
    assert client.lrange("acme:{eu}:queue:mail", 0, -1) == [b"one"]
    assert client.zscore("rq:failed:mail", "one") is not None


def test_no_broker_is_a_clear_error(own_valkey: ValkeyServer) -> None:
    broker = Broker("eu", own_valkey.url)
    own_valkey.stop()
    with pytest.raises(BrokerUnavailable, match=r"broker eu: 127\.0\.0\.1:\d+ cannot be reached"):
        requeue(broker, [("one", "mail")])


def mover(broker: Broker, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MOVER, broker.url, str(first), str(last)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def places(client: redis.Redis, count: int) -> Counter[int]:
    """How many jobs are in how many places: queue entries, and whether the registry has them."""
    seen = Counter(entry.decode() for entry in client.lrange("rq:queue:mail", 0, -1))
    seen.update(entry.decode() for entry in client.zrange("rq:failed:mail", 0, -1))
    return Counter(seen[f"job-{n}"] for n in range(count))


@pytest.mark.parametrize("moved_before", [1, 300, 700, 1200, 1900])
def test_a_requeue_killed_at_any_moment_leaves_each_job_in_one_place(
    broker: Broker, client: redis.Redis, moved_before: int
) -> None:
    write_failed(client, *(f"job-{n}" for n in range(2000)))
    process = mover(broker, 0, 2000)
    wait_for(lambda: client.llen("rq:queue:mail") >= moved_before, timeout=30, every=0.0005)
    process.kill()
    process.communicate(timeout=10)
    moved = client.llen("rq:queue:mail")
    assert moved_before <= moved <= 2000
    assert places(client, 2000) == {1: 2000}
    statuses = Counter(client.hget(f"rq:job:job-{n}", "status") for n in range(2000))
    assert statuses[b"queued"] == moved
    assert statuses[b"failed"] == 2000 - moved


def test_two_requeues_at_once_move_each_job_once(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, *(f"job-{n}" for n in range(2000)))
    processes = [mover(broker, 0, 1500), mover(broker, 500, 2000)]
    printed = [process.communicate(timeout=60)[0] for process in processes]
    told = Counter(line for text in printed for line in text.splitlines())
    assert told == {"requeued": 2000, "not_failed": 1000}
    assert places(client, 2000) == {1: 2000}
    assert client.llen("rq:queue:mail") == 2000


def test_a_broker_killed_in_a_requeue_comes_back_with_each_job_in_one_place(own_valkey: ValkeyServer) -> None:
    """The append-only file holds a script's writes as one transaction."""
    broker = Broker("default", own_valkey.url)
    write_failed(own_valkey.client, *(f"job-{n}" for n in range(2000)))
    process = mover(broker, 0, 2000)
    wait_for(lambda: own_valkey.client.llen("rq:queue:mail") >= 400, timeout=30, every=0.0005)
    own_valkey.kill()
    process.kill()
    process.communicate(timeout=10)
    own_valkey.start()
    assert own_valkey.client.llen("rq:queue:mail") >= 400
    assert places(own_valkey.client, 2000) == {1: 2000}
