"""While the end of a job is written its worker claims the next one: which is lost, or late, in no case."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.runtime.claims import Claims
from pools.runtime.keys import Keys
from tests.runtime.holding import gone, release, runs
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.waiting import wait_for


class Ending:
    """A worker whose first job is at its end until it is released, and the job that comes next."""

    def __init__(self, host: AgentHost, folder: Path, **changes: Any) -> None:
        self.host, self.uid = host, new_uid()
        self.marker, self.run = folder / "ending", folder / "next"
        self.queue = Queue("mail", connection=host.valkey.client)
        self.first = self.queue.enqueue("tasks.end_slowly", str(self.marker))
        self.next = self.queue.enqueue("tasks.mark", str(self.run))
        host.configure(self.uid, spec(**changes))
        host.start()
        (self.worker,) = host.wait_for_workers(self.uid, 1)
        wait_for(lambda: self.claimed == self.next.id and self.marker.exists(), message=self.said)
        self.horse = int(wait_for(self.marker.read_text, message="the horse has written its pid"))

    @property
    def claimed(self) -> str:
        """The job that the worker has claimed and not begun; "" for none."""
        held = self.host.valkey.client.hget("pw:claims", self.worker["name"]) or b""
        return held.decode().partition("\n")[2]

    def said(self) -> str:
        return "".join(channel.output.read_text() for channel in self.host.channels())

    def places(self, job: Job) -> list[str]:
        return places(self.host.valkey.client, "mail", job.id)

    def finish(self, *jobs: Job) -> None:
        release(self.marker)
        wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=30, message=self.said)
        assert runs(self.run) == 1
        wait_for(lambda: not self.host.valkey.client.hgetall("pw:claims"), message="nothing is claimed")


@pytest.mark.parametrize("jobs", [1, 5])
def test_the_next_job_waits_for_the_end_of_the_one_before(host: AgentHost, tmp_path: Path, jobs: int) -> None:
    ending = Ending(host, tmp_path, horse={"jobs": jobs})
    assert ending.places(ending.first) == ["started"]
    assert ending.places(ending.next) == ["intermediate"]
    assert ending.next.get_status() == "queued"
    assert not ending.run.exists()
    ending.finish(ending.first, ending.next)
    first, after = (job.latest_result() for job in (ending.first, ending.next))
    assert first is not None and after is not None
    assert first.execution_ended_at <= after.execution_ended_at


def test_a_worker_that_is_to_end_gives_it_back(host: AgentHost, tmp_path: Path) -> None:
    ending = Ending(host, tmp_path)
    last = ending.queue.enqueue("tasks.add", 1, 1)
    host.command(ending.uid, "draining")
    wait_for(lambda: host.workers(ending.uid, "draining"), message=host.log)
    release(ending.marker)
    wait_for(lambda: not host.heartbeat()["workers"], message=host.log)
    assert ending.first.get_status() == "finished"
    assert ending.queue.job_ids == [ending.next.id, last.id], "at the head, where it was"
    host.command(ending.uid, "running")
    ending.finish(ending.next, last)


def test_a_worker_that_is_to_pause_gives_it_back(host: AgentHost, tmp_path: Path) -> None:
    ending = Ending(host, tmp_path)
    host.command(ending.uid, "paused")
    wait_for(lambda: all((control := channel.control()) and control.paused for channel in host.channels()))
    release(ending.marker)
    wait_for(lambda: ending.queue.job_ids == [ending.next.id], message=host.log)
    assert not ending.run.exists()
    host.command(ending.uid, "running")
    ending.finish(ending.first, ending.next)


def test_another_worker_has_it_when_the_end_takes_long(host: AgentHost, tmp_path: Path) -> None:
    ending = Ending(host, tmp_path)
    host.configure(ending.uid, spec(workers=2))
    wait_for(lambda: ending.next.get_status() == "finished", timeout=30, message=host.log)
    assert ending.places(ending.first) == ["started"]
    ending.finish(ending.first)


def test_its_horse_dies_at_the_end(host: AgentHost, tmp_path: Path) -> None:
    ending = Ending(host, tmp_path)
    os.kill(ending.horse, signal.SIGKILL)
    gone(ending.horse)
    ending.finish(ending.next)
    assert ending.places(ending.first) == ["failed"]


def test_its_horse_dies_at_the_end_of_a_job_that_runs_again(host: AgentHost, tmp_path: Path) -> None:
    ending = Ending(host, tmp_path, policies=[{"task": "tasks.*", "delivery": "at_least_once", "losses": 3}])
    os.kill(ending.horse, signal.SIGKILL)
    gone(ending.horse)
    ending.finish(ending.first, ending.next)
    assert runs(ending.marker) == 2
    assert host.events("job.fenced") == []


def test_its_worker_dies_at_the_end(host: AgentHost, tmp_path: Path) -> None:
    ending = Ending(host, tmp_path)
    signal_worker(ending.worker, signal.SIGKILL)
    gone(ending.horse)
    ending.finish(ending.next)
    assert ending.places(ending.first) == ["failed"]


@pytest.mark.parametrize("jobs", [1, 5])
def test_its_claim_is_taken_away_meanwhile(host: AgentHost, tmp_path: Path, jobs: int) -> None:
    """As from a worker that was asleep so long that others believed it dead: the horse that has it never runs it."""
    ending = Ending(host, tmp_path, horse={"jobs": jobs})
    assert Claims(Keys(), ending.worker["name"]).release(host.valkey.client) == ending.next.id
    ending.finish(ending.first, ending.next)
    assert [(event["job_id"], event["end"]) for event in host.events("job.fenced")] == [(ending.next.id, "start")]
    assert host.workers(ending.uid) == [ending.worker]


def test_not_where_gates_count_what_a_worker_runs(host: AgentHost, tmp_path: Path) -> None:
    uid, marker = new_uid(), tmp_path / "ending"
    host.configure(uid, spec(limits=[{"name": "few", "tasks": ["tasks.other"], "concurrency": 1}]))
    queue = Queue("mail", connection=host.valkey.client)
    jobs = [queue.enqueue("tasks.end_slowly", str(marker)), queue.enqueue("tasks.add", 1, 1)]
    host.start()
    wait_for(marker.exists, message=host.log)
    at_its_end = time.monotonic()
    wait_for(lambda: time.monotonic() > at_its_end + 1, message="the worker has had the time to claim it")
    assert queue.job_ids == [jobs[1].id]
    release(marker)
    wait_for(lambda: all(job.get_status() == "finished" for job in jobs), message=host.log)
