"""A start counts only while the claim is held, an end only while the execution holds its lease."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from rq import Queue
from rq.executions import Execution

from pools.runtime import step
from pools.runtime.channel import Channel, Control
from pools.runtime.identity import Identity
from pools.runtime.job import Policy, PoolJob
from pools.runtime.keys import Keys
from pools.runtime.worker import PoolWorker
from tests.runtime.places import places
from tests.support.valkey import ValkeyServer

KEYS = Keys()


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def worker(client: Any, tmp_path: Path) -> PoolWorker:
    """A worker whose loop is never run: each test takes the steps that it is about."""
    identity = Identity("host-1", "host-1", "uid", "mail", "mail-host-1-a", 1)
    return PoolWorker(
        ["mail"],
        job_class=PoolJob.bind(keys=KEYS, identity=identity, policy=Policy(60, 600, ())),
        connection=client,
        idle_connection=client,
        channel=Channel(tmp_path),
        stop_requested=lambda: False,
        rung=lambda seconds: False,
        prepare_for_work=False,
    )


def claimed(worker: PoolWorker, **options: Any) -> tuple[PoolJob, Queue]:
    Queue("mail", connection=worker.connection).enqueue("operator.add", 1, 2, **options)
    found = worker._claim()
    assert found is not None
    return cast(PoolJob, found[0]), found[1]


def started(worker: PoolWorker, **options: Any) -> tuple[PoolJob, Queue, Execution]:
    job, queue = claimed(worker, **options)
    execution = worker._start(job, queue)
    assert execution is not None
    return job, queue, execution


def take_away(client: Any, execution: Execution) -> None:
    """What any reaper does first when it decides about a job."""
    client.zrem("rq:wip:mail", execution.composite_key)


def everything(client: Any) -> dict[bytes, Any]:
    """The broker, key by key; without the events."""
    return {key: client.dump(key) for key in client.keys("*") if key != KEYS.events.encode()}


def events(client: Any) -> list[tuple[str, str]]:
    read = [(fields[b"type"].decode(), json.loads(fields[b"body"])) for _, fields in client.xrange(KEYS.events)]
    return [(kind, body.get("end", "")) for kind, body in read]


def test_success_commits_with_its_lease(client: Any, worker: PoolWorker) -> None:
    job, queue, execution = started(worker)
    assert worker.perform_job(job, queue, execution)
    assert places(client, "mail", job.id) == ["finished"]
    assert job.return_value() == 3


@pytest.mark.parametrize("task", ["operator.add", "operator.floordiv"])
def test_an_end_without_a_lease_leaves_no_trace(client: Any, worker: PoolWorker, task: str) -> None:
    """``operator.floordiv`` of 1 and 0 fails: a failure is fenced as a success is."""
    job, queue, execution = started(worker)
    job.func_name, job.args = task, (1, 0)
    take_away(client, execution)
    before = everything(client)
    worker.perform_job(job, queue, execution)
    assert everything(client) == before
    assert events(client) == [("job.fenced", "success" if task == "operator.add" else "failure")]


def test_an_end_without_a_lease_enqueues_no_dependents_and_calls_no_webhook(client: Any, worker: PoolWorker) -> None:
    job, queue, execution = started(worker)
    child = Queue("mail", connection=client).enqueue("operator.add", 1, 1, depends_on=job)
    take_away(client, execution)
    before = everything(client)
    worker.perform_job(job, queue, execution)
    assert everything(client) == before
    assert places(client, "mail", child.id) == ["deferred"]
    assert job.webhooks == []


def test_a_dead_horse_of_a_lost_lease_fails_nothing(client: Any, worker: PoolWorker) -> None:
    """The job may run elsewhere by now: stock rq would fail it there."""
    job, queue, execution = started(worker)
    take_away(client, execution)
    before = everything(client)
    worker.handle_job_failure(job, queue, exc_string="signal 9", execution=execution)
    assert everything(client) == before
    assert events(client) == [("job.fenced", "failure")]


def test_an_end_is_written_once_when_its_answer_is_lost(client: Any, worker: PoolWorker) -> None:
    job, queue, execution = started(worker)
    for _ in range(2):
        job.ended_at = job.started_at
        worker.handle_job_success(job, queue, None, execution)
        after = everything(client)
    assert places(client, "mail", job.id) == ["finished"]
    assert everything(client) == after
    assert client.hget(worker.key, "successful_job_count") == b"1"
    assert client.xlen(f"rq:results:{job.id}") == 1
    assert events(client) == []


def test_a_start_without_a_claim_writes_nothing(client: Any, worker: PoolWorker) -> None:
    job, queue = claimed(worker)
    worker.claims.release(client)
    before = everything(client)
    assert worker._start(job, queue) is None
    assert everything(client) == before
    assert places(client, "mail", job.id) == ["queue"]
    assert events(client) == [("job.fenced", "start")]


def test_a_start_is_written_once_when_its_answer_is_lost(client: Any, worker: PoolWorker) -> None:
    job, queue, execution = started(worker)
    before = everything(client)
    guard = step.Guard(step.START, [KEYS.claims, "rq:wip:mail", job.key], worker.claims.guard(queue, job.id))
    guard.args.extend([execution.composite_key, "queued"])
    with step.Step(client, guard) as again:
        again.hset(job.key, "status", "twice")
        assert again.execute() == [step.DONE]
    assert everything(client) == before


def test_one_failed_write_keeps_no_other_from_being_done(client: Any, worker: PoolWorker) -> None:
    """As in MULTI: a key of the wrong type, which any producer can make, must not leave a job half ended."""
    job, queue, execution = started(worker)
    client.set(f"rq:results:{job.id}", "not a stream")
    assert not worker.perform_job(job, queue, execution)
    assert len(places(client, "mail", job.id)) == 1
    assert client.zcard("rq:wip:mail") == 0


def test_many_dependents_pass_through_the_script(client: Any, worker: PoolWorker) -> None:
    """Lua passes at most 8,000 values to one command."""
    _, _, execution = started(worker)
    client.sadd("many", *range(20_000))
    with step.Step(
        client, step.Guard(step.FINISH, ["rq:wip:mail", worker.key, "pw:retries:x"], [execution.composite_key, 0, 0, 0])
    ) as writes:
        writes.srem("many", *range(19_999))
        writes.execute()
    assert client.smembers("many") == {b"19999"}


def test_what_goes_wrong_ahead_is_no_matter_of_the_job_that_ends(client: Any, worker: PoolWorker) -> None:
    worker.channel.order(Control(paused=False, config=1))
    Queue("mail", connection=client).enqueue("operator.add", 1, 2)
    client.set(KEYS.claims, "damaged")
    worker.claim_ahead()
    assert worker._ahead is None
    client.delete(KEYS.claims)
    worker.give_back()
    worker.claim_ahead()
    assert worker._ahead is not None
    worker.give_back()
    assert client.hlen(KEYS.claims) == 0


@pytest.mark.parametrize("how", ["cancel", "delete", "begin", "damage"])
def test_a_start_of_a_job_that_changed_since_it_was_claimed_writes_nothing(
    client: Any, worker: PoolWorker, how: str
) -> None:
    """Claimed ahead it may wait for seconds; an id that was pushed twice has two claims."""
    job, queue = claimed(worker)
    if how == "damage":
        client.delete(job.key)
        client.set(job.key, "no hash")
    elif how == "begin":
        client.hset(job.key, "status", "started")
    else:
        getattr(job, how)()
    before = everything(client)
    assert worker._start(job, queue) is None
    assert everything(client) == before
    assert events(client) == []
    worker._claim()
    assert client.hgetall(KEYS.claims) == {}, "what it has become is seen when the claim is answered again"
    assert "intermediate" not in places(client, "mail", job.id)


def test_a_claim_whose_answer_was_lost_ahead_is_given_back(client: Any, worker: PoolWorker) -> None:
    worker.channel.order(Control(paused=False, config=1))
    job = Queue("mail", connection=client).enqueue("operator.add", 1, 2)
    worker._reached_ahead = bool(worker.claims.take(client, worker.queues))
    worker.give_back()
    assert places(client, "mail", job.id) == ["queue"]
    assert client.hgetall(KEYS.claims) == {}
