"""Rates and concurrency: never more than they say, whoever dies, and only their own tasks wait."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from pools.runtime.keys import Keys
from pools.runtime.reaper import Order, reap
from pools.runtime.worker_config import Lost
from tests.runtime.gates import BREAKER, LIMIT, Worker, asked, rules
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

RUNNING = "pw:gates:pool:limit:api::running"


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def queue(client: Any) -> Queue:
    return Queue("mail", connection=client)


def _workers(client: Any, *gates: Any, count: int = 6, queues: tuple[str, ...] = ("mail",)) -> list[Worker]:
    return [Worker(client, f"w-{n}", rules(*gates), queues) for n in range(count)]


def _taken(workers: list[Worker]) -> int:
    return sum(worker.take() is not None for worker in workers)


def test_concurrency_is_never_exceeded_and_others_pass(client: Any, queue: Queue) -> None:
    workers = _workers(client, LIMIT)
    calls = [queue.enqueue("tasks.call") for _ in range(6)]
    others = [queue.enqueue("tasks.add") for _ in range(2)]
    found = [worker.take() for worker in workers]
    assert found == [calls[0].id, calls[1].id, others[0].id, others[1].id, None, None]
    assert queue.job_ids == [job.id for job in calls[2:]], "those that wait keep their order"
    workers[0].end("failure")
    assert workers[4].take() == calls[2].id


def test_a_dead_workers_place_is_free_when_it_is_reaped_and_when_its_key_ends(client: Any, queue: Queue) -> None:
    workers = _workers(client, LIMIT)
    for _ in range(6):
        queue.enqueue("tasks.call")
    assert _taken(workers) == 2
    reap(client, Keys(), Order(Lost("w-0", "gone"), "pool", 1, 60), {})
    assert client.smembers(RUNNING) == {b"w-1"}
    assert _taken(workers[2:]) == 1
    client.delete("rq:worker:w-1")
    assert _taken(workers[3:]) == 1
    assert client.scard(RUNNING) == 2


def test_a_worker_that_asks_again_gives_back_what_it_held(client: Any, queue: Queue) -> None:
    """Its last job's end was written by another, or not at all."""
    (worker,) = _workers(client, LIMIT, count=1)
    for _ in range(3):
        queue.enqueue("tasks.call")
    assert all(worker.take() for _ in range(3))
    assert client.scard(RUNNING) == 1


def test_a_claim_that_is_dropped_or_released_gives_back_its_turn(client: Any, queue: Queue) -> None:
    (worker,) = _workers(client, replace(LIMIT, per_second=1), count=1)
    for give_back in ("acknowledge", "release"):
        job = queue.enqueue("tasks.call")
        found = worker.claims.take(client, worker.queues)
        assert found is not None
        assert client.scard(RUNNING) == 1
        if give_back == "acknowledge":
            worker.claims.acknowledge(client, queue, job.id)
        else:
            worker.claims.release(client)
        assert client.scard(RUNNING) == client.hlen("pw:holds") == 0
    assert worker.take() == job.id


def test_a_rate_lets_through_its_burst_and_then_its_rate(client: Any, queue: Queue) -> None:
    limit = replace(LIMIT, per_second=20, burst=5, concurrency=0)
    workers = _workers(client, limit)
    for _ in range(60):
        queue.enqueue("tasks.call")
    began, taken = _clock(client), 0
    while taken < 25:
        now_taken = _taken(workers)
        taken += now_taken
        if now_taken:
            passed = _clock(client) - began
            assert taken <= 5 + 20 * passed + 1, f"{taken} in {passed} s"
    assert _clock(client) - began >= (25 - 5) / 20 - 0.01


def test_limits_by_queue_and_by_argument_count_each_apart(client: Any) -> None:
    workers = _workers(client, replace(LIMIT, by="queue", concurrency=1), queues=("mail", "news"))
    for name in ("mail", "mail", "news", "news"):
        Queue(name, connection=client).enqueue("tasks.call")
    assert _taken(workers) == 2
    client.flushall()
    workers = _workers(client, replace(LIMIT, by="user.id", concurrency=1))
    pickled, told = Queue("mail", connection=client), []
    plain = Queue("mail", connection=client, serializer=JSONSerializer)
    for queue in (pickled, plain):
        for user in (7, 7, 8):
            told.append(queue.enqueue("tasks.call", user={"id": user}).id)
    told.append(pickled.enqueue("tasks.call").id)
    assert [worker.take() for worker in workers] == [told[0], told[2], told[6], None, None, None]
    assert pickled.job_ids == [told[1], *told[3:6]]


def test_two_gates_on_one_task_are_passed_together_or_not_at_all(client: Any, queue: Queue) -> None:
    narrow = replace(LIMIT, name="narrow", concurrency=1)
    workers = _workers(client, replace(LIMIT, concurrency=3), narrow, BREAKER)
    for _ in range(4):
        queue.enqueue("tasks.call")
    assert _taken(workers) == 1
    assert client.scard(RUNNING) == 1, "what the other gate stopped holds no place here"


def test_a_lost_answer_is_answered_again_with_what_was_assumed(client: Any, queue: Queue) -> None:
    (worker,) = _workers(client, LIMIT, count=1)
    queue.enqueue("tasks.call")
    assert worker.claims.take(client, worker.queues) == worker.claims.take(client, worker.queues)
    assert client.scard(RUNNING) == 1


def test_a_job_that_vanished_is_passed_over(client: Any, queue: Queue) -> None:
    (worker,) = _workers(client, LIMIT, count=1)
    client.rpush("rq:queue:mail", "gone", b"\xff\xfe")
    found = worker.claims.take(client, worker.queues)
    assert found is not None and found.job_id == "gone"


def test_nobody_looks_again_until_something_may_have_changed(client: Any, queue: Queue) -> None:
    def rest() -> int:
        return max(0, client.pttl("pw:gates:pool:rest"))

    first, second = _workers(client, replace(LIMIT, concurrency=1), count=2)
    for _ in range(20):
        queue.enqueue("tasks.call")
    assert first.take()
    assert wait_for(lambda: second.take() is None and rest(), every=0) <= 100
    first.end()
    assert not client.exists("pw:gates:pool:rest")
    (soon,) = _workers(client, replace(LIMIT, name="soon", per_second=20, concurrency=0), count=1)

    def rests() -> int:
        if soon.take() is None:
            return rest()
        soon.end()
        return 0

    assert wait_for(rests, every=0) <= 50, "until the rate's next turn"


@pytest.fixture
def six(host: AgentHost) -> Iterator[tuple[AgentHost, str]]:
    uid = new_uid()
    limit = asked(gate=LIMIT, tasks=["tasks.hold"])
    host.configure(uid, spec(workers=6, limits=[limit]))
    host.start()
    host.wait_for_workers(uid, 6, timeout=60)
    yield host, uid


def test_six_real_workers_keep_to_two_also_when_one_is_killed(six: tuple[AgentHost, str], tmp_path: Path) -> None:
    host, uid = six
    client = host.valkey.client
    queue = Queue("mail", connection=client)
    markers = [tmp_path / f"held-{n}" for n in range(8)]
    jobs = [queue.enqueue("tasks.hold", str(marker)) for marker in markers]
    after = queue.enqueue("tasks.add", 1, 1)
    wait_for(lambda: after.get_status() == "finished", timeout=30, message="others pass")

    def running() -> list[int]:
        """The jobs that have started at one moment: one command, or what ends between two of them is counted too."""
        started = {entry.decode().split(":")[0] for entry in client.zrange("rq:wip:mail", 0, -1)}
        return [n for n, job in enumerate(jobs) if job.id in started]

    seen: list[int] = []

    def two_run(besides: int = -1) -> bool:
        now = running()
        seen.append(len(now))
        return len(now) == 2 and besides not in now

    wait_for(two_run, timeout=20, message="two run")
    first = running()[0]
    name = (client.hget(jobs[first].key, "worker_name") or b"").decode()
    victim = next(worker for worker in host.workers(uid) if worker["name"] == name)
    signal_worker(victim, signal.SIGKILL)
    wait_for(lambda: two_run(first), timeout=20, message=f"another took its place: {host.log()}")
    for marker in markers:
        Path(f"{marker}.release").touch()
    wait_for(lambda: seen.append(len(running())) or not queue.count, timeout=40, message="all ran")
    assert max(seen) == 2
    wait_for(lambda: client.hlen("pw:holds") == 0, timeout=20, message="nothing is held")


def _clock(client: Any) -> float:
    seconds, micros = client.time()
    return float(seconds + micros / 1_000_000)
