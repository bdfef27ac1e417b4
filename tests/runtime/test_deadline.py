"""Deadlines of the signed policy: what expired is not run, says so, and no retry is scheduled past it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rq import Queue, Repeat, Retry
from rq.job import Job

from pools.runtime import deadline
from pools.runtime.attempt_note import NOTE
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

SECONDS = 600
POLICIES = [{"task": "tasks.nothing_such"}, {"task": "tasks.*", "delivery": "at_most_once", "deadline": SECONDS}]
RULES = [
    {"task": "tasks.mark", "max": 5, "backoff": 0, "cap": 0},
    {"task": "tasks.fail", "max": 5, "backoff": 3600, "cap": 3600, "jitter": 0, "permanent": ["TimeoutError"]},
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentHost]:
    folder = tmp_path_factory.mktemp("deadline")
    valkey = ValkeyServer(folder / "valkey", free_port())
    valkey.start()
    host = AgentHost(folder / "host", valkey)
    uid = new_uid()
    host.configure(uid, spec(policies=POLICIES, retry=RULES, horse={"jobs": 3}))
    host.start()
    host.wait_for_workers(uid, 1)
    yield host
    host.close()
    valkey.kill()


@pytest.fixture
def queue(host: AgentHost) -> Queue:
    return Queue("mail", connection=host.valkey.client)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def enqueued(queue: Queue, ago: float, *call: str, **options: object) -> Job:
    """A job that was enqueued so many seconds ago, by its producer's clock."""
    job = queue.create_job(*call[:1], args=call[1:], **options)  # type: ignore[arg-type]
    job.save()
    job.set_status("queued")  # type: ignore[arg-type]
    at = datetime.now(UTC) - timedelta(seconds=ago)
    queue.connection.hset(job.key, "enqueued_at", at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    queue.connection.rpush(queue.key, job.id)
    return job


def ended(job: Job, status: str = "failed") -> None:
    wait_for(lambda: job.get_status() == status, timeout=30, message=f"{job.id} is {status}")


def text(job: Job) -> str:
    result = job.latest_result()
    assert result is not None
    return result.exc_string or ""


@pytest.mark.parametrize("own", [None, Retry(max=3)], ids=["the pool's rule", "its own retry"])
def test_an_expired_job_is_not_run_and_not_retried(
    host: AgentHost, queue: Queue, marker: Path, own: Retry | None
) -> None:
    job = enqueued(queue, SECONDS + 5, "tasks.mark", str(marker), retry=own)
    ended(job)
    assert not marker.exists() and len(job.results()) == 1
    assert text(job).startswith("pools.runtime.deadline.ExpiredError: The job has expired and was not run: it was to ")
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    assert [event["job_id"] for event in host.events("job.failed")].count(job.id) == 1


def test_one_in_time_runs_and_keeps_no_trace_of_it(queue: Queue, marker: Path) -> None:
    job = enqueued(queue, SECONDS - 60, "tasks.mark", str(marker), repeat=None)
    ended(job, "finished")
    assert marker.exists() and not queue.connection.hexists(job.key, deadline.FIELD)


def test_a_repeated_job_has_a_deadline_each_time(queue: Queue, marker: Path) -> None:
    job = queue.enqueue("tasks.mark", str(marker), repeat=Repeat(times=1))
    wait_for(lambda: marker.exists() and len(marker.read_text().splitlines()) == 2, timeout=30, message="twice")
    ended(job, "finished")


def test_a_retry_past_the_deadline_is_not_scheduled(queue: Queue) -> None:
    for job in (queue.enqueue("tasks.fail"), queue.enqueue("tasks.fail", retry=Retry(max=1, interval=SECONDS + 60))):
        ended(job)
        assert text(job).startswith(f"{NOTE}{deadline.TOO_LATE}") and "ValueError: broken" in text(job)
        assert len(job.results()) == 1 and not queue.connection.hexists(job.key, deadline.FIELD)


def test_a_retry_in_time_keeps_the_first_attempts_deadline(host: AgentHost, queue: Queue) -> None:
    job = enqueued(queue, SECONDS - 300, "tasks.fail", retry=Retry(max=1, interval=100))
    wait_for(lambda: places(host.valkey.client, "mail", job.id) == ["scheduled"], timeout=30, message="it waits")
    left = float(queue.connection.hget(job.key, deadline.FIELD) or 0) - time.time()
    assert 200 < left <= 300


def test_a_requeued_dead_letter_gets_a_new_deadline(queue: Queue, marker: Path) -> None:
    job = enqueued(queue, SECONDS + 5, "tasks.mark", str(marker))
    ended(job)
    Job.fetch(job.id, connection=queue.connection).requeue()
    ended(job, "finished")
    assert marker.exists()


@pytest.mark.parametrize("junk", ["soon", "nan", "inf", "9" * 400, b"\xff"])
def test_junk_in_its_place_is_no_deadline(queue: Queue, marker: Path, junk: str | bytes) -> None:
    job = queue.create_job("tasks.mark", args=(str(marker),))
    job.save()
    job.set_status("queued")  # type: ignore[arg-type]
    queue.connection.hset(job.key, deadline.FIELD, junk)
    queue.connection.rpush(queue.key, job.id)
    ended(job, "finished")


class TestRule:
    def test_a_producers_clock_that_is_ahead_gives_no_more_time(self) -> None:
        assert deadline.until(60, None, enqueued=1000 + 3600, now=1000) == 1060
        assert deadline.until(60, 9e9, enqueued=1000, now=1000) == 1060

    def test_one_that_is_behind_makes_jobs_expire_and_the_text_names_both_times(self) -> None:
        until = deadline.until(60, None, enqueued=1e9 - 3600, now=1e9)
        with pytest.raises(deadline.ExpiredError, match=r"2001-09-09 00:47:40 UTC.*it is 2001-09-09 01:46:40 UTC"):
            deadline.check(until, 60, 1e9)

    def test_without_a_deadline_nothing_expires(self) -> None:
        assert deadline.until(0, 5.0, enqueued=0, now=9e9) is None
        deadline.check(None, 0, 9e9)

    def test_a_time_beyond_the_calendar_is_said_all_the_same(self) -> None:
        with pytest.raises(deadline.ExpiredError, match="second -"):
            deadline.check(-1e300, 60, 1e9)
