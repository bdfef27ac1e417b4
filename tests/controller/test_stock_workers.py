"""Stock ``rq worker`` processes, looked at and left alone: true liveness, and a broker that stays as it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from rq import Queue

from pools.broker.connection import Broker
from pools.controller.ingester import Ingester
from pools.controller.lease import LeaderLease
from pools.controller.log_sequencer import LogSequencer
from pools.controller.publisher import Publisher
from pools.controller.repair import Repair
from pools.controller.sampler import Sampler
from pools.controller.sampling.workers import RECONNECT
from pools.controller.scanner import Scanner
from pools.controller.sweeper import Sweeper
from pools.models import DeadLetter, Pool, PoolNow, QueueState, Team, Worker
from tests.broker.jobs import fails, succeeds, waits_for
from tests.broker.keyspace import dump
from tests.controller.conftest import Tick
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]

type Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def start_worker(broker: Broker) -> Iterator[Start]:
    """Start a stock worker on the queue ``mail``."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [str(Path(sys.executable).parent / "rq"), "worker", "mail", "--url", broker.url, "--name", name]
        running.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)


@pytest.fixture
def sampler(lease: LeaderLease, broker: Broker) -> Sampler:
    return Sampler(lease)


def alive() -> set[str]:
    return set(Worker.objects.filter(gone_at=None).values_list("name", flat=True))


def until(tick: Tick, sampler: Sampler, condition: Callable[[], bool], timeout: float, message: str) -> None:
    def looked() -> bool:
        tick(sampler)
        return condition()

    wait_for(looked, timeout=timeout, every=0.5, message=message)


def test_a_killed_worker_is_gone_within_10_s_and_an_idle_one_never_is(
    start_worker: Start, sampler: Sampler, tick: Tick, team: Team
) -> None:
    victim, _ = start_worker("w1"), start_worker("w2")
    until(tick, sampler, lambda: alive() == {"w1", "w2"}, 20, "both workers are shown")
    os.killpg(victim.pid, signal.SIGKILL)
    until(tick, sampler, lambda: alive() == {"w2"}, 10, "the killed worker is gone")
    idle = Worker.objects.get(name="w2")
    assert (idle.state, idle.pool.slug, idle.queues) == ("idle", "attached", ["mail"])
    assert PoolNow.objects.get().workers == 1


def test_a_worker_that_says_goodbye_is_gone_at_once_and_may_come_back(
    start_worker: Start, sampler: Sampler, tick: Tick, team: Team
) -> None:
    worker = start_worker("w1")
    until(tick, sampler, lambda: alive() == {"w1"}, 20, "the worker is shown")
    worker.terminate()
    worker.wait(timeout=20)
    tick(sampler)
    assert alive() == set()
    start_worker("w1")
    until(tick, sampler, lambda: alive() == {"w1"}, 20, "it is back")
    assert Worker.objects.count() == 1


def test_a_running_job_and_what_was_done_are_shown(
    start_worker: Start, sampler: Sampler, tick: Tick, team: Team, client: redis.Redis, tmp_path: Path
) -> None:
    start_worker("w1")
    until(tick, sampler, lambda: alive() == {"w1"}, 20, "the worker is shown")
    queue = Queue("mail", connection=client)
    job = queue.enqueue(waits_for, str(tmp_path / "go"))
    until(tick, sampler, lambda: PoolNow.objects.get().busy == 1, 20, "the job runs")
    worker = Worker.objects.get()
    assert (worker.current_job_id, worker.current_func) == (job.id, "tests.broker.jobs.waits_for")
    assert worker.current_since is not None
    queue.enqueue(succeeds)
    tick(sampler)
    assert PoolNow.objects.get().waiting == 1
    (tmp_path / "go").touch()
    until(tick, sampler, lambda: PoolNow.objects.get().busy == 0 and queue.count == 0, 20, "both jobs are done")
    until(tick, sampler, lambda: Worker.objects.get().successful == 2, 10, "both are counted")
    assert PoolNow.objects.get().done_per_minute > 0


def test_looking_changes_nothing_on_the_broker(
    start_worker: Start,
    sampler: Sampler,
    lease: LeaderLease,
    publisher: Publisher,
    tick: Tick,
    team: Team,
    client: redis.Redis,
) -> None:
    queue = Queue("mail", connection=client)
    failing = [queue.enqueue(fails, n) for n in range(3)]
    queue.enqueue(succeeds)
    worker = start_worker("w1")
    wait_for(lambda: len(queue.failed_job_registry.get_job_ids(cleanup=False)) == 3, timeout=20)
    wait_for(lambda: queue.finished_job_registry.get_job_ids(cleanup=False), timeout=20)
    Queue("other", connection=client).enqueue(succeeds)
    os.killpg(worker.pid, signal.SIGKILL)  # so that nobody else changes anything either
    worker.wait(timeout=20)
    before = dump(client)
    scanner = Scanner(lease)
    for loop in (
        sampler,
        Ingester(lease),
        scanner,
        Repair(publisher),
        LogSequencer(),
        Sweeper(lease),
        sampler,
        scanner,
    ):
        tick(loop)
    assert dump(client) == before
    attached = Pool.objects.get()
    assert (attached.kind, attached.queues) == ("attached", ["mail", "other"])
    assert {letter.job_id for letter in DeadLetter.objects.filter(pool=attached)} == {job.id for job in failing}
    assert QueueState.objects.get(name="mail").failed == 3


def test_a_worker_that_stands_still_is_not_gone(start_worker: Start, sampler: Sampler, tick: Tick, team: Team) -> None:
    process = start_worker("w1")
    until(tick, sampler, lambda: alive() == {"w1"}, 20, "the worker is shown")
    os.kill(process.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    until(tick, sampler, lambda: time.monotonic() > stopped + RECONNECT + 0.5, 10, "time passes")
    assert alive() == {"w1"}
