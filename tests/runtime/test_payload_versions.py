"""Jobs of a payload version that these workers do not know wait for workers that do, and are seen to wait."""

import json
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer, PickleSerializer

from pools.broker.connection import Broker
from pools.broker.gates import Watched
from pools.broker.sampler import take_sample
from pools.runtime.delivery import DeliveryRule
from pools.runtime.payload_version import version
from pools.runtime.refusals import JobRefused
from pools.runtime.rules import Rules
from tests.runtime.gates import UID, Worker
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

UNKNOWN = f"pw:gates:{UID}:unknown"


@pytest.fixture
def queue(valkey: ValkeyServer) -> Queue:
    return Queue("mail", connection=valkey.client)


def worker(queue: Queue, name: str, *versions: int, key: str = "") -> Worker:
    rule = DeliveryRule("tasks.*", "at_most_once", 3, 0, key, 60, versions)
    return Worker(queue.connection, name, Rules({}, policies=[rule]))


def seen(queue: Queue) -> list[dict[str, Any]]:
    return json.loads(queue.connection.get(UNKNOWN) or "[]")  # type: ignore[no-any-return]


def test_a_job_waits_for_a_worker_that_knows_its_version_and_others_pass(queue: Queue) -> None:
    marked = [queue.enqueue("tasks.add", 1, 1, meta={"schema": mark}) for mark in (4, 4, 3, "x")]
    plain, other = queue.enqueue("tasks.add", 1, 1), queue.enqueue("shop.add", meta={"schema": 9})
    old, new = worker(queue, "old", 2, 3), worker(queue, "new", 3, 4)
    assert [old.take() for _ in range(4)] == [marked[2].id, plain.id, other.id, None]
    assert [(one["task"], one["version"], one["jobs"]) for one in seen(queue)] == [
        ("tasks.add", "4", 2),
        ("tasks.add", "x", 1),
    ]
    assert [new.take() for _ in range(3)] == [marked[0].id, marked[1].id, None]
    assert [(one["version"], one["jobs"]) for one in seen(queue)] == [("x", 1)]
    queue.connection.lrem(queue.key, 1, marked[3].id)
    queue.enqueue("tasks.add", 1, 1, meta={"schema": 5})
    assert old.take() is None
    assert [(one["version"], one["jobs"]) for one in seen(queue)] == [("5", 1)], "what is taken is forgotten"


def test_a_look_that_was_cut_short_hides_nothing_and_the_wait_counts_from_its_begin(queue: Queue) -> None:
    first, *_ = [queue.enqueue("tasks.add", 1, 1, meta={"schema": 4}) for _ in range(3)]
    old = worker(queue, "old", 3)
    assert old.take() is None
    (before,) = seen(queue)
    queue.connection.lpush(queue.key, queue.enqueue("shop.add").id)
    assert old.take() is not None
    assert seen(queue) == [before] and 55_000 < queue.connection.pttl(UNKNOWN) <= 60_000
    first.delete()
    assert old.take() is None or old.take() is None
    assert [(one["jobs"], one["since"]) for one in seen(queue)] == [(2, before["since"])]


def test_a_job_that_waits_takes_no_idempotency_key(queue: Queue) -> None:
    strange, known = (queue.enqueue("tasks.add", 1, 1, meta={"schema": mark}) for mark in (4, 3))
    assert worker(queue, "old", 3, key="0").take() == known.id
    assert strange.id in queue.job_ids


@pytest.mark.parametrize("serializer", [JSONSerializer, PickleSerializer])
def test_a_mark_is_read_without_loading(serializer: Any) -> None:
    for meta, found in (
        ({"schema": 4}, "4"),
        ({"schema": "2026-06", "a": {"schema": 1}}, "2026-06"),
        ({"other": 1}, ""),
        ({"schema": None}, ""),
        ({}, ""),
    ):
        assert version(serializer.dumps(meta)) == found, meta
    assert version(serializer.dumps({"schema": [1]})) not in ("", "1")
    assert version(b"") == ""
    for broken in (b"{oops", b"\x80\x05oops", serializer.dumps({"a": "x" * 1_000_000, "schema": 4})):
        with pytest.raises(JobRefused, match="its version cannot be read: "):
            version(broken)


def test_the_sampler_reads_it_and_believes_no_junk(queue: Queue, valkey: ValkeyServer) -> None:
    queue.enqueue("tasks.add", 1, 1, meta={"schema": 4})
    assert worker(queue, "old", 3).take() is None
    broker, watched = Broker("default", valkey.url), [Watched(UID, [], [], versions=True)]
    (line,) = take_sample(broker, watched).gates[UID]["unknown"]
    assert (line["task"], line["version"], line["jobs"]) == ("tasks.add", "4", 1) and line["since"] > 1_700_000_000
    nothing = {"task": "None", "version": "None", "jobs": 0, "since": 0}
    for junk, read in (("{", []), ("7", []), ("[[], 3]", []), ('[{"jobs": "x", "since": 1e300}]', [nothing])):
        valkey.client.set(UNKNOWN, junk)
        assert take_sample(broker, watched).gates[UID]["unknown"] == read


def test_real_workers_leave_it_until_the_config_names_the_version(host: AgentHost) -> None:
    uid, client = new_uid(), host.valkey.client
    policy = {"task": "tasks.*", "schema_versions": [1]}
    host.configure(uid, spec(policies=[policy]))
    host.start()
    host.wait_for_workers(uid, 1)
    queue = Queue("mail", connection=client)
    job, after = queue.enqueue("tasks.add", 1, 1, meta={"schema": 2}), queue.enqueue("tasks.add", 2, 2)
    wait_for(lambda: after.get_status() == "finished", message=f"others pass: {host.log()}")
    assert job.get_status() == "queued" and client.exists(f"{host.keys.gates(uid)}:unknown")
    host.configure(uid, spec(policies=[policy | {"schema_versions": [1, 2]}]), version=2)
    wait_for(lambda: job.get_status() == "finished", timeout=30, message=f"the new version knows it: {host.log()}")
    assert not host.events("job.failed")
