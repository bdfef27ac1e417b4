"""Which jobs workers refuse: never run, never retried, kept whole, with a reason that a person can read."""

import json
import os
import pickle
import random
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from rq import Callback, Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer

from pools.runtime.channel import Channel
from pools.runtime.identity import Identity
from pools.runtime.job import Policy, PoolJob
from pools.runtime.keys import Keys
from pools.runtime.refusals import Admission, JobRefused, serializer_for
from pools.runtime.worker import PoolWorker
from tests.runtime.places import places
from tests.support.valkey import ValkeyServer

KEYS = Keys()
LISTED = Admission(tasks=["operator.add", "os.path.*"])
type Make = Callable[..., PoolWorker]


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def make(client: Any, tmp_path: Path) -> Make:
    """A worker whose loop is never run: each test takes the steps that it is about."""

    def made(admission: Admission, serializer: str = "json") -> PoolWorker:
        identity = Identity("host-1", "host-1", "uid", "mail", "mail-host-1-a", 1)
        policy = Policy(60, 3600, (), (), admission)
        return PoolWorker(
            ["mail"],
            job_class=PoolJob.bind(keys=KEYS, identity=identity, policy=policy),
            connection=client,
            idle_connection=client,
            channel=Channel(tmp_path),
            stop_requested=lambda: False,
            rung=lambda seconds: False,
            prepare_for_work=False,
            serializer=serializer_for(admission, serializer),
        )

    return made


def put(client: Any, payload: bytes, **fields: Any) -> str:
    """A job as anyone who can write to the broker may leave one."""
    record = {"data": payload, "status": "queued", "origin": "mail", "description": "operator.add(1, 2)"} | fields
    client.hset("rq:job:forged", mapping=record)
    client.rpush("rq:queue:mail", "forged")
    return "forged"


def called(task: Any, *args: Any) -> bytes:
    return zlib.compress(json.dumps([task, None, args, {}]).encode())


def reason(client: Any, job_id: str = "forged") -> str:
    """What the dead letter says. Everywhere else the job is gone from."""
    assert places(client, "mail", job_id) == ["failed"]
    assert client.hlen(KEYS.claims) == 0
    (result,) = Job(job_id, connection=client).results()
    kind, _, said = str(result.exc_string).strip().partition(": ")
    assert kind == "poolwarden.JobRefused"
    return said


def refused(worker: PoolWorker, job_id: str = "forged") -> str:
    """By the worker, before a horse has the job."""
    assert worker._claim() is None
    client = cast(Any, worker.connection)
    assert [fields[b"type"] for _, fields in client.xrange(KEYS.events)] == [b"job.failed"]
    return reason(client, job_id)


def refused_by_horse(worker: PoolWorker, job_id: str = "forged") -> str:
    found = worker._claim()
    assert found is not None
    job, queue = found
    execution = worker._start(cast(PoolJob, job), queue)
    assert execution is not None
    assert not worker.perform_job(job, queue, execution)
    return reason(worker.connection, job_id)


NOT_LISTED = "is not on the pool's list of tasks"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (called("os.system", "true"), f"task os.system {NOT_LISTED}"),
        (called("os.pathsystem", "true"), f"task os.pathsystem {NOT_LISTED}"),
        (called("eval", "1"), f"task eval {NOT_LISTED}"),
        (called("a\nb"), f'task "a\\nb" {NOT_LISTED}'),
        (zlib.compress(b'["format", "{0}", [1], {}]'), f"task builtins.str.format {NOT_LISTED}"),
        (called(["operator.add"]), "its payload names no task"),
        (called(""), "its payload names no task"),
        (zlib.compress(b'["operator.add", null]'), "its payload cannot be read: ValueError "),
        (zlib.compress(b'["operator.add", '), "its payload cannot be read: JSONDecodeError "),
        (zlib.compress(b"[" * 100_000), "its payload cannot be read: RecursionError "),
        (called("operator.add", 1, 2)[:-9], "its payload is not written as json, which the pool reads"),
        (zlib.compress(pickle.dumps(("operator.add", None, (1, 2), {}))), "its payload is not written as json"),
        (b"\x00\x01", "its payload is not written as json"),
        (b"", "its record holds no payload"),
    ],
)
def test_payloads_are_refused_before_a_horse_has_them(client: Any, make: Make, payload: bytes, said: str) -> None:
    put(client, payload)
    before = client.hgetall("rq:job:forged")
    assert refused(make(LISTED)).startswith(said)
    after = client.hgetall("rq:job:forged")
    assert before | {b"status": b"failed", b"ended_at": after[b"ended_at"]} == after


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"timeout": "soon"}, "its record cannot be read: AssertionError in parse_timeout"),
        ({"created_at": "yesterday"}, "its record cannot be read: ValueError "),
        ({"status": "waiting"}, "its record cannot be read: ValueError "),
        ({"retry_intervals": "["}, "its record cannot be read: JSONDecodeError "),
        ({"success_callback_name": b"\xff"}, "its record cannot be read: UnicodeDecodeError "),
        ({"success_callback_name": "os.system"}, f"its success callback os.system {NOT_LISTED}"),
        ({"failure_callback_name": "os.system"}, f"its failure callback os.system {NOT_LISTED}"),
        ({"stopped_callback_name": "os.system"}, f"its stopped callback os.system {NOT_LISTED}"),
    ],
)
def test_records_are_refused_before_a_horse_has_them(client: Any, make: Make, fields: Any, said: str) -> None:
    put(client, called("operator.add", 1, 2), **fields)
    assert refused(make(LISTED)).startswith(said)


def test_a_pool_may_refuse_all_callbacks_and_webhooks(client: Any, make: Make) -> None:
    worker = make(Admission(callbacks="refuse", webhooks="refuse"))
    put(client, called("operator.add", 1, 2), success_callback_name="operator.add")
    assert refused(worker) == "it has a success callback, which the pool does not allow: operator.add"
    client.flushall()
    put(client, called("operator.add", 1, 2), webhooks='[{"url": "http://169.254.169.254/", "job_status": "finished"}]')
    assert refused(worker) == "it has a webhook, which the pool does not allow"


def test_large_records_stay_on_the_broker(client: Any, make: Make) -> None:
    """50 MB of it: in the payload, in another field, or only once it is unpacked."""
    worker = make(Admission())
    for fields in ({"data": os.urandom(50_000_000)}, {"description": "x" * 50_000_000}):
        client.flushall()
        put(client, called("operator.add", 1, 2), **fields)
        assert re.fullmatch(r"its record takes 50,000,\d{3} bytes and may take 16,384 KiB", refused(worker))
    client.flushall()
    put(client, zlib.compress(b"[" + b" " * 50_000_000))
    assert refused(worker) == "its payload takes more than 16,384 KiB when it is unpacked"


def test_a_key_that_holds_no_job_ends_no_worker(client: Any, make: Make) -> None:
    client.set("rq:job:forged", "something else")
    client.rpush("rq:queue:mail", "forged")
    assert refused(make(Admission())) == "its key holds something other than a job"
    assert client.get("rq:job:forged") == b"something else"


RUBBISH = [b"", b"\xff\xfe", b"x" * 9, b"-1", b"0", b"9" * 20, b"1e999", b'{"a": 1}', b"null", zlib.compress(b"[]")]
RUBBISH += [b"[]", b"[1]", b'["a"]', b"[-5]", b"[NaN]", b"[1e999]", b"[" + b"9" * 20 + b"]"]
MORE_FIELDS = (
    "dependency_ids repeat_intervals repeats_left rate_limit_key rate_limit_concurrency ttl failure_ttl group_id"
)


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_no_damage_ends_a_worker_or_loses_a_job(client: Any, make: Make, serializer: str) -> None:
    """Rubbish in any field: the job is refused, or it can be started, and failed when its horse has died."""
    chance = random.Random(5)
    worker, queue = make(LISTED, serializer), Queue("mail", connection=client, serializer=serializer)
    for _ in range(600):
        client.flushall()
        job = queue.enqueue("operator.add", 1, 2, retry=Retry(max=2, interval=[1]), meta={"a": 1})
        fields = [*client.hgetall(job.key), *MORE_FIELDS.encode().split()]
        # Where it ends is what its producer wrote, as in rq; a status other than queued is no job that waits.
        field = chance.choice([name for name in fields if name not in (b"status", b"origin")])
        client.hset(job.key, field, chance.choice(RUBBISH))
        found = worker._claim()
        if found is None:
            assert reason(client, job.id)
            continue
        execution = worker._start(cast(PoolJob, found[0]), found[1])
        found[0].ended_at = found[0].started_at
        worker.handle_job_failure(*found, exc_string="killed", execution=execution)
        assert len(places(client, "mail", job.id)) == 1


def test_what_is_gone_is_passed_over(client: Any, make: Make) -> None:
    client.hset("rq:job:forged", "last_heartbeat", "now")
    client.rpush("rq:queue:mail", "forged", "nothing")
    worker = make(LISTED)
    assert worker._claim() is None
    assert worker._claim() is None
    assert places(client, "mail", "forged") == places(client, "mail", "nothing") == []


# Pickles: loaded by the horse alone, and not everything in them.


class Bomb:
    """Its unpickling creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def pickled(task: Any, *args: Any, instance: Any = None) -> bytes:
    return zlib.compress(pickle.dumps((task, instance, args, {})))


def test_a_pickle_loads_nothing_that_is_not_listed(client: Any, make: Make, tmp_path: Path) -> None:
    bomb = Bomb(tmp_path / "went-off")
    put(client, pickled("operator.add", bomb, 1))
    assert (
        refused_by_horse(make(LISTED, "pickle"))
        == f"its payload would load {os.mkdir.__module__}.mkdir, which is not on the pool's list"
    )
    assert not bomb.path.exists()


def test_what_else_a_record_has_pickled_is_not_loaded_either(client: Any, make: Make, tmp_path: Path) -> None:
    """rq unpickles meta, and what an earlier run returned, as soon as it reads a record: in the worker itself."""
    bomb = Bomb(tmp_path / "went-off")
    packed = pickle.dumps(bomb)
    for admission in (LISTED, Admission()):
        client.flushall()
        put(client, pickled("operator.add", 1, 2), meta=packed, result=packed)
        found = make(admission, "pickle")._claim()
        assert found is not None
        assert client.hget("rq:job:forged", "meta") == packed
        assert not bomb.path.exists()


def test_a_pickle_whose_task_shows_is_refused_before_a_horse_has_it(client: Any, make: Make) -> None:
    put(client, pickled("os.system", "true"))
    assert refused(make(LISTED, "pickle")) == f"task os.system {NOT_LISTED}"


def test_a_pickle_that_shows_another_task_is_refused_when_it_is_loaded(client: Any, make: Make) -> None:
    """First text ``operator.add``, then popped off the stack: what is left names another function."""
    payload = b"\x80\x04\x8c\x0coperator.add0(\x8c\x09os.systemN\x8c\x04true\x85}t."
    put(client, payload)
    assert pickle.loads(payload)[0] == "os.system"
    assert refused_by_horse(make(LISTED, "pickle")) == f"task os.system {NOT_LISTED}"


def test_a_damaged_pickle_says_so(client: Any, make: Make) -> None:
    put(client, pickle.dumps(("operator.add", None, (1, 2), {}))[:-4])
    assert refused_by_horse(make(Admission(), "pickle")).startswith("its payload cannot be read: ")


def test_methods_are_named_with_their_class(client: Any, make: Make) -> None:
    name = f"{Text.__module__}.Text"
    put(client, pickled("upper", instance=Text("a")))
    typed = replace(LISTED, types=[name])
    assert refused_by_horse(make(typed, "pickle")) == f"task {name}.upper {NOT_LISTED}"
    client.flushall()
    put(client, pickled("upper", instance=Text("a")))
    worker = make(replace(typed, tasks=[f"{name}.upper"]), "pickle")
    found = worker._claim()
    assert found is not None
    assert found[0].perform() == "A"


class Text:
    def __init__(self, text: str) -> None:
        self.text = text

    def upper(self) -> str:
        return self.text.upper()


# What a pattern lets through.


@pytest.mark.parametrize("task", ["os.path.os.getpid", "os.path.sys.exit"])
def test_a_pattern_is_not_for_what_its_module_imported(client: Any, make: Make, task: str) -> None:
    put(client, called(task))
    assert "which is not on the pool's list of tasks" in refused_by_horse(make(LISTED))


def test_a_callback_is_held_to_the_list_as_a_task_is(client: Any, make: Make) -> None:
    put(client, called("operator.add", 1, 2), success_callback_name="os.path.os.getpid")
    assert refused_by_horse(make(LISTED)).startswith("its success callback os.path.os.getpid is posix.getpid")


def test_a_task_that_is_listed_by_its_name_may_be_defined_anywhere(client: Any, make: Make) -> None:
    """``operator.add`` is ``_operator.add``, in C."""
    put(client, called("operator.add", 1, 2))
    worker = make(LISTED)
    found = worker._claim()
    assert found is not None
    assert found[0].perform() == 3


# Refused is refused.


TOLD: list[str] = []


def told(job: Job, *rest: Any) -> None:
    TOLD.append(job.id)


def test_what_a_horse_refuses_is_neither_retried_nor_told(client: Any, make: Make) -> None:
    queue = Queue("mail", connection=client, serializer=JSONSerializer)
    job = queue.enqueue("os.path.os.getpid", retry=Retry(max=3), on_failure=Callback(told))
    assert refused_by_horse(make(replace(LISTED, tasks=[*LISTED.tasks, f"{__name__}.told"])), job.id) == (
        "task os.path.os.getpid is posix.getpid, which is not on the pool's list of tasks"
    )
    assert client.hget(job.key, "retries_left") == b"3"
    assert TOLD == []


def test_upkeep_runs_no_callback_that_the_pool_refuses(client: Any, make: Make) -> None:
    """rq calls failure callbacks of jobs that it finds abandoned, whoever wrote their records."""
    worker = make(LISTED)
    put(client, called("operator.add", 1, 2), failure_callback_name="os.system", stopped_callback_name="os.system")
    job = worker.job_class.fetch("forged", worker.connection, worker.serializer)
    for callback in ("failure_callback", "stopped_callback"):
        with pytest.raises(JobRefused, match=r"os\.system is not on the pool's list"):
            getattr(job, callback)


def test_a_refused_job_gives_back_its_place_in_a_rate_limit(client: Any, make: Make) -> None:
    put(client, called("os.system", "true"))
    refused(make(LISTED))
    assert client.smembers(KEYS.unsettled("mail")) == {b"forged"}
