"""Breakers: an open one stops work before it fails, and half-open lets exactly its probes through."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.runtime.rules import Wish
from tests.runtime.gates import BREAKER, Worker, asked, rules, state
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

KEY = "pw:gates:pool:breaker:smtp"


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def queue(client: Any) -> Queue:
    return Queue("mail", connection=client)


@pytest.fixture
def workers(client: Any) -> list[Worker]:
    return [Worker(client, f"w-{n}", rules(BREAKER)) for n in range(4)]


def _open(queue: Queue, worker: Worker) -> None:
    """By three failures of jobs of its own."""
    for _ in range(BREAKER.failures):
        queue.enqueue("tasks.send", at_front=True)
        worker.take()
        worker.end("failure", "OSError")
    assert state(queue.connection) == "open"


def _rest(client: Any) -> None:
    """As if it had been open for its time."""
    client.hincrby(KEY, "since", -BREAKER.open_for * 1000)


def test_failures_open_it_and_only_its_tasks_wait(queue: Queue, workers: list[Worker]) -> None:
    _open(queue, workers[0])
    waiting, other = queue.enqueue("tasks.send_all"), queue.enqueue("tasks.add")
    assert workers[0].take() == other.id
    assert workers[1].take() is None
    assert queue.job_ids == [waiting.id]


def test_half_open_lets_exactly_its_probes_through_and_closes_when_all_succeed(
    client: Any, queue: Queue, workers: list[Worker]
) -> None:
    _open(queue, workers[0])
    jobs = [queue.enqueue("tasks.send") for _ in range(5)]
    _rest(client)
    assert [worker.take() for worker in workers] == [jobs[0].id, jobs[1].id, None, None]
    assert state(client) == "half_open"
    workers[0].end()
    assert workers[2].take() is None, "one of two passed, one still runs: no third"
    workers[1].end()
    assert state(client) == "closed"
    assert [worker.take() for worker in workers[:3]] == [job.id for job in jobs[2:]]


def test_a_probe_that_fails_opens_it_again_and_a_late_one_changes_nothing(
    client: Any, queue: Queue, workers: list[Worker]
) -> None:
    _open(queue, workers[0])
    for _ in range(3):
        queue.enqueue("tasks.send")
    _rest(client)
    assert workers[0].take() and workers[1].take()
    workers[0].end("failure", "OSError")
    assert state(client) == "open"
    workers[1].end()
    assert (state(client), workers[0].take()) == ("open", None)


def test_a_dead_probe_gives_its_token_back(client: Any, queue: Queue, workers: list[Worker]) -> None:
    _open(queue, workers[0])
    for _ in range(4):
        queue.enqueue("tasks.send")
    _rest(client)
    assert [bool(worker.take()) for worker in workers[:3]] == [True, True, False]
    client.delete("rq:worker:w-0")
    assert workers[2].take() and not workers[3].take()


def test_only_the_errors_it_names_count(client: Any, queue: Queue) -> None:
    worker = Worker(client, "w", rules(replace(BREAKER, errors=["OSError"], failures=1)))
    for how, names, after in (
        ("failure", ["ValueError", "Exception"], "closed"),
        ("failure", [], "closed"),
        ("retry", [], "closed"),
        ("failure", ["ConnectionError", "OSError"], "open"),
    ):
        queue.enqueue("tasks.send")
        worker.take()
        worker.end(how, *names)
        assert state(client) == after


def test_failures_before_its_window_do_not_count(client: Any, queue: Queue, workers: list[Worker]) -> None:
    for _ in range(BREAKER.failures - 1):
        queue.enqueue("tasks.send")
        workers[0].take()
        workers[0].end("failure")
    times = [int(at) - 61_000 for at in client.lrange(f"{KEY}:failures", 0, -1)]
    client.delete(f"{KEY}:failures")
    client.rpush(f"{KEY}:failures", *times)
    queue.enqueue("tasks.send")
    workers[0].take()
    workers[0].end("failure")
    assert state(client) == "closed"


def test_an_end_that_is_told_twice_counts_once(client: Any, queue: Queue, workers: list[Worker]) -> None:
    queue.enqueue("tasks.send")
    workers[0].take()
    for _ in range(5):
        workers[0].end("failure")
    assert (state(client), client.llen(f"{KEY}:failures")) == ("closed", 1)


def test_what_people_want_is_done_once_for_each_generation(client: Any, queue: Queue, workers: list[Worker]) -> None:
    job = queue.enqueue("tasks.send")
    for worker in workers:
        worker.claims.wishes = [Wish("smtp", "open", 4)]
    assert (workers[0].take(), state(client)) == (None, "held")
    client.hset(KEY, "since", 0)
    assert workers[1].take() is None, "no time closes what a person opened"
    workers[0].claims.wishes = [Wish("smtp", "closed", 5)]
    assert (workers[0].take(), state(client)) == (job.id, "closed")
    queue.enqueue("tasks.send")
    assert workers[1].take(), "a worker that has not heard of it yet opens nothing again"
    workers[0].end()
    _open(queue, workers[0])
    assert workers[0].take() is None, "closed by a person is not kept closed"


def test_a_description_of_its_own_does_not_hide_a_task(client: Any, queue: Queue, workers: list[Worker]) -> None:
    _open(queue, workers[0])
    hidden = queue.enqueue("tasks.send", description="tasks.add(1)")
    open_ = queue.enqueue("tasks.add", description="tasks.send(1)")
    assert workers[0].take() is None, "what it says it is counts, too, until it is read"
    assert client.hget(hidden.key, "pw_task") == b"tasks.send"
    assert places(client, "mail", hidden.id) == places(client, "mail", open_.id) == ["queue"]


def test_real_jobs_open_it_and_wait_instead_of_failing(host: AgentHost, tmp_path: Path) -> None:
    uid, client = new_uid(), host.valkey.client
    queue = Queue("mail", connection=client)
    breaker = asked(gate=BREAKER, tasks=["tasks.fail"], open_for=3600, errors=["TimeoutError"])
    host.configure(uid, spec(workers=2, breakers=[breaker], horse={"jobs": 10}))
    host.start()
    jobs = [queue.enqueue("tasks.fail", "TimeoutError") for _ in range(20)]
    after = queue.enqueue("tasks.add", 1, 1)
    wait_for(lambda: after.get_status() == "finished", timeout=30, message=f"others go on: {host.log()}")

    def settled() -> bool:
        opened = client.hget(f"pw:gates:{uid}:breaker:smtp", "state") == b"open"
        return opened and not client.hlen("pw:claims") and not client.zcard("rq:wip:mail")

    wait_for(settled, timeout=20, message="it is open")
    failed = [job for job in jobs if job.get_status() == "failed"]
    assert 3 <= len(failed) <= 4, "two workers: at most one ran beside the one that opened it"
    key = f"pw:gates:{uid}:breaker:smtp"
    client.hset(key, "since", 0)
    wait_for(lambda: queue.count < 20 - len(failed), timeout=20, message="one probe at least")
    wait_for(settled, timeout=20, message="open again")
    assert 20 - queue.count - len(failed) <= BREAKER.probes


def test_a_killed_horse_counts_where_every_failure_does(host: AgentHost, tmp_path: Path) -> None:
    uid, client = new_uid(), host.valkey.client
    breaker = asked(gate=BREAKER, tasks=["tasks.hold"], failures=1, open_for=3600)
    host.configure(uid, spec(breakers=[breaker]))
    host.start()
    marker = tmp_path / "held"
    job: Job = Queue("mail", connection=client).enqueue("tasks.hold", str(marker))
    wait_for(lambda: any(s and s.horse for s in (c.status() for c in host.channels())), timeout=20, message="it runs")
    horse = next(s.horse for s in (c.status() for c in host.channels()) if s and s.horse)
    horse.kill_group()
    wait_for(lambda: job.get_status() == "failed", timeout=20, message="failed")
    assert client.hget(f"pw:gates:{uid}:breaker:smtp", "state") == b"open"
    assert client.hlen("pw:holds") == 0


def test_a_signed_wish_opens_and_closes_it_for_real_workers(host: AgentHost) -> None:
    uid, client = new_uid(), host.valkey.client
    queue, key = Queue("mail", connection=client), f"pw:gates:{uid}:breaker:smtp"
    host.configure(uid, spec(workers=2, breakers=[asked(gate=BREAKER, tasks=["tasks.add"])]))
    host.start()
    host.wait_for_workers(uid, 2)
    host.command(uid, "running", breakers=[{"breaker": "smtp", "state": "open", "generation": 1}])
    wait_for(lambda: client.hget(key, "state") == b"held", timeout=20, message="a worker has opened it")
    job, after = queue.enqueue("tasks.add", 1, 1), queue.enqueue("tasks.environment")
    wait_for(lambda: after.get_status() == "finished", timeout=20, message="others go on")
    host.kill()
    client.hset(key, "state", "closed")
    client.delete(key)
    wait_for(lambda: client.hget(key, "state") == b"held", timeout=20, message="also when the broker has lost it")
    assert job.get_status() == "queued"
    host.start()
    host.command(uid, "running", breakers=[{"breaker": "smtp", "state": "closed", "generation": 2}])
    wait_for(lambda: job.get_status() == "finished", timeout=20, message="closed by a person")
