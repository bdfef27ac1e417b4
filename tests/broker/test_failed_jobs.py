"""Failed jobs read raw: against what RQ itself says of them, and out of records that are broken or hostile."""

import base64
import pickle
import random
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue, Retry
from rq.job import Job
from rq.registry import FailedJobRegistry

from pools.broker import failed_jobs
from pools.broker.connection import Broker
from pools.broker.failed_jobs import FailedJob, Missing
from pools.broker.payload import PAYLOAD_LIMIT, function_in, serializer_of
from tests.broker import jobs
from tests.broker.commands import counted
from tests.broker.conftest import Work
from tests.broker.keyspace import dump
from tests.broker.records import TRACEBACK, write_failed
from tests.support.valkey import ValkeyServer


def read_failed(broker: Broker, ids: list[str]) -> list[FailedJob | Missing]:
    return failed_jobs.read_failed(broker, ids, dict.fromkeys(ids, "mail"))


def read(broker: Broker, job_id: str = "one") -> FailedJob:
    [found] = read_failed(broker, [job_id])
    assert isinstance(found, FailedJob)
    return found


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_all_that_rq_knows_is_read(broker: Broker, client: redis.Redis, work: Work, serializer: str) -> None:
    queue = Queue("mail", connection=client, serializer=serializer)
    queue.enqueue(jobs.fails, 7, job_id="one", retry=Retry(max=1), failure_ttl=900)
    work(serializer=serializer)
    job = Job.fetch("one", connection=client, serializer=serializer)
    found, result = read(broker), job.latest_result()
    assert result
    assert (found.job_id, found.queue, found.status, found.is_dead) == ("one", "mail", "failed", True)
    assert (found.func, found.exc_type, found.message) == (
        "tests.broker.jobs.fails",
        "ValueError",
        "no such order: (7,)",
    )
    assert found.traceback == result.exc_string
    assert (found.created_at, found.enqueued_at, found.started_at) == (job.created_at, job.enqueued_at, job.started_at)
    assert found.failed_at == result.created_at
    assert found.worker == job.worker_name
    assert found.expires_at
    assert 890 < (found.expires_at - datetime.now(UTC)).total_seconds() <= 901
    assert found.damaged == ""


def test_the_newest_failure_counts(broker: Broker, client: redis.Redis, work: Work) -> None:
    job = Queue("mail", connection=client).enqueue(jobs.fails, job_id="one")
    work()
    first = read(broker).failed_at
    FailedJobRegistry("mail", connection=client).requeue(job.id)
    work()
    second = read(broker).failed_at
    assert first
    assert second
    assert second > first


def test_1000_jobs_take_four_round_trips(broker: Broker, client: redis.Redis, valkey: ValkeyServer) -> None:
    ids = [f"job-{n}" for n in range(1000)]
    write_failed(client, *ids)
    before = dump(client)
    commands = counted(valkey, lambda: read_failed(broker, ids))
    each = dict.fromkeys(("hmget", "xrevrange", "pttl", "zscore", "hstrlen"), 1000)
    assert commands.pop("script|load", 1) == 1
    assert commands.pop("evalsha") - 4 in (0, 1)  # the first one may find that the broker does not know the script yet
    assert commands == {"time": 4} | each
    assert dump(client) == before
    assert [found.job_id for found in read_failed(broker, ids)] == ids
    with pytest.raises(ValueError, match="at most 1000 jobs at a time"):
        read_failed(broker, [*ids, "more"])
    assert read_failed(broker, []) == []


def test_large_results_take_more_round_trips(broker: Broker, client: redis.Redis, valkey: ValkeyServer) -> None:
    """The broker serves nobody else while a script reads."""
    chance = random.Random(7)
    noise = "".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(200_000))
    ids = [f"job-{n}" for n in range(12)]
    write_failed(client, *ids, traceback=f"{TRACEBACK}{noise}")
    found = read_failed(broker, ids)
    assert [job.job_id for job in found] == ids
    assert counted(valkey, lambda: read_failed(broker, ids))["evalsha"] > 3
    assert all(isinstance(job, FailedJob) and job.traceback.endswith(noise) for job in found)


def test_its_place_in_the_registry_is_read(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two", "three")
    client.zadd("rq:failed:mail", {"one": 1234.5, "two": -1})
    client.zrem("rq:failed:mail", "three")
    assert [read(broker, job_id).score for job_id in ("one", "two", "three")] == [1234.5, -1, None]
    client.set("rq:failed:mail", "not a registry")
    assert read(broker).score is None


@pytest.mark.parametrize("text", [TRACEBACK, "", "ünïcode\n", "a\x00b", "\ud800"])
def test_the_packed_traceback_is_the_text(broker: Broker, client: redis.Redis, text: str) -> None:
    write_failed(client, "one", traceback="")
    packed = base64.b64encode(zlib.compress(text.encode("utf-8", "surrogatepass")) + b"trailing")
    client.xadd("rq:results:one", {"type": 2, "exc_string": packed})
    found = read(broker)
    assert zlib.decompress(found.packed).decode() == found.traceback
    assert found.traceback == text.replace("\x00", "").replace("\ud800", "\ufffd" * 3)


def test_a_job_whose_record_has_gone_is_missing(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    client.delete("rq:job:one")
    assert read_failed(broker, ["one", "two"]) == [Missing("one"), Missing("two")]


def test_a_traceback_in_the_hash_where_old_rq_left_it(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", exc_info=zlib.compress(TRACEBACK.encode()))
    client.delete("rq:results:one")
    found = read(broker)
    assert (found.exc_type, found.damaged) == ("ValueError", "")
    assert found.failed_at == datetime(2026, 1, 2, 3, 4, 8, 6, tzinfo=UTC), "ended_at, for want of a result"


DAMAGE: list[tuple[str, Any, str]] = [
    ("exc_string", b"not base64!", "the traceback cannot be unpacked: "),
    ("exc_string", base64.b64encode(b"not zlib"), "the traceback cannot be unpacked: "),
    ("exc_string", base64.b64encode(zlib.compress(b"x" * 9)[:-8]), "the traceback cannot be unpacked: incomplete"),
    ("exc_string", base64.b64encode(zlib.compress(b"x" * 50_000_000)), "the traceback was longer than 1 MB and is cut"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "damage"), DAMAGE)
def test_a_damaged_result_is_told(broker: Broker, client: redis.Redis, name: str, value: bytes, damage: str) -> None:
    write_failed(client, "one", "two")
    client.xadd("rq:results:one", {"type": 2, name: value})
    damaged, whole = read_failed(broker, ["one", "two"])
    assert isinstance(damaged, FailedJob)
    assert isinstance(whole, FailedJob)
    assert damaged.damaged.startswith(damage)
    assert len(damaged.traceback) <= 1_000_000
    assert (whole.damaged, whole.exc_type, damaged.func) == ("", "ValueError", "shop.orders.parse")


def test_damaged_records_are_told(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "text", "payload-less", "queue-less", "bare", "results")
    client.delete("rq:job:text", "rq:job:bare", "rq:results:results")
    client.set("rq:job:text", "text")
    client.set("rq:results:results", "text")
    client.hdel("rq:job:payload-less", "data")
    client.hdel("rq:job:queue-less", "origin")
    client.hset("rq:job:bare", "data", b"x")
    found = read_failed(broker, ["text", "payload-less", "queue-less", "bare", "results"])
    assert [job.damaged for job in found if isinstance(job, FailedJob)] == [
        "the job's key holds something other than a job",
        "the record holds no payload",
        "the record names no queue",
        "the record names no queue",
        "the results' key holds something other than results",
    ]


def test_hostile_fields_become_safe_text(broker: Broker, client: redis.Redis) -> None:
    evil = b"\xff\x00<script>'; DROP TABLE x; --" + b"A" * 100_000
    times = dict.fromkeys(("created_at", "enqueued_at", "started_at", "ended_at"), evil)
    write_failed(
        client, "one", traceback="\x00\x01" + "x" * 5000, worker_name=evil, status=evil, description=evil, **times
    )
    found = read(broker)
    for value in (found.func, found.worker, found.status, found.queue, found.exc_type, found.message, found.traceback):
        assert "\x00" not in value
        value.encode("utf-8")
    assert (len(found.worker), len(found.message), found.is_dead) == (255, 1000, False)
    assert (found.created_at, found.enqueued_at, found.started_at) == (None, None, None)
    assert found.failed_at is not None


def test_the_function_behind_a_description_is_found_without_unpickling(
    broker: Broker, client: redis.Redis, tmp_path: Path
) -> None:
    """Grouped by description, each of these jobs would be a cause of its own; unpickled, they would run their code."""
    trap = tmp_path / "unpickled"
    payload = zlib.compress(pickle.dumps(("shop.mail.send", None, (jobs.Marker(str(trap)),), {}), protocol=5))
    write_failed(client, "one", data=payload, description="Mail to bob@example.org")
    write_failed(client, "two", data=zlib.compress(b'["shop.mail.send", null, [], {}]'), description="Mail (to) eve")
    write_failed(client, "big", data=b"\0" * (PAYLOAD_LIMIT + 1), description="Mail to all")
    found = [job.func for job in read_failed(broker, ["one", "two", "big"]) if isinstance(job, FailedJob)]
    assert found == ["shop.mail.send", "shop.mail.send", ""]
    assert not trap.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_pickles_of_every_protocol_show_their_function(protocol: int) -> None:
    payload = zlib.compress(pickle.dumps(("shop.mail.send", None, ("x" * 10_000,), {"k": 1}), protocol=protocol))
    assert (function_in(payload), serializer_of(payload)) == ("shop.mail.send", "pickle")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x80", b"\x80\x05", b"\x80\x05\x95\xff", b"[", b"[1]", b'["a b", 1]', b"[" * 4000, b"cos\nsystem\n", None,
     7, zlib.compress(b"\x80\x05" + b"\x8d" + b"\xff" * 8), zlib.compress(pickle.dumps(7))],
)  # fmt: skip
def test_payloads_that_show_nothing(payload: Any) -> None:
    assert function_in(payload) == ""
