"""RQ's own tools beside managed workers, on one broker at one time: ``rq worker``, django-rq's worker, ``rq info``,
``rq requeue``, ``rq suspend``, ``rq empty``, ``manage.py rqstats``. No job runs twice, and none is in another's way.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django_rq
import pytest
from rq import Queue, Worker
from rq.job import Job

from tests.runtime.conftest import APPLICATION
from tests.runtime.holding import runs
from tests.runtime.specs import spec
from tests.support.agents import ROOT, AgentHost, new_uid
from tests.support.installation import clean_environ
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

JOBS = 120


class Tools:
    """RQ's commands and django-rq's, as their users call them."""

    def __init__(self, valkey: ValkeyServer, home: Path) -> None:
        self._url, self._home = valkey.url, home
        path = os.pathsep.join(map(str, (ROOT, APPLICATION)))
        self._environ = clean_environ(home, POOLWARDEN_REDIS_URL=valkey.url, PYTHONPATH=path)

    def rq(self, command: str, *arguments: str) -> str:
        return self._run("-m", "rq.cli", command, *arguments, "--url", self._url)

    def manage(self, *arguments: str) -> str:
        return self._run("manage.py", *arguments)

    @contextmanager
    def workers(self) -> Iterator[None]:
        """A stock worker of the queue ``mail``, and django-rq's own of the queue ``console``."""
        commands = ["-m", "rq.cli", "worker", "mail", "--url", self._url], ["manage.py", "rqworker", "console"]
        with (self._home / "stock.log").open("wb") as log:
            options: dict[str, Any] = {"cwd": ROOT, "env": self._environ, "stdout": log, "stderr": log}
            started = [subprocess.Popen([sys.executable, *command], **options) for command in commands]
        try:
            yield
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def tools(valkey: ValkeyServer, tmp_path: Path) -> Tools:
    return Tools(valkey, tmp_path)


@pytest.fixture
def managed(host: AgentHost) -> list[str]:
    """Two managed workers of both queues."""
    uid = new_uid()
    host.configure(uid, spec(workers=2, queues=["mail", "console"]))
    host.start()
    return [worker["name"] for worker in host.wait_for_workers(uid, 2)]


def ran_by(jobs: list[Job]) -> Counter[str]:
    return Counter(job.results()[0].worker_name for job in jobs)


@pytest.mark.timeout(180)
def test_stock_workers_and_managed_ones_share_queues(
    host: AgentHost, managed: list[str], tools: Tools, tmp_path: Path
) -> None:
    client, marker = host.valkey.client, tmp_path / "runs"
    queues = Queue("mail", connection=client), django_rq.get_queue("console", connection=client)
    with tools.workers():
        wait_for(lambda: Worker.count(connection=client) == 4, message="all four have said hello")
        paused = [queue.enqueue("time.sleep", 0.05) for queue in queues for _ in range(JOBS)]
        marked = [queue.enqueue("tasks.mark", str(marker)) for queue in queues for _ in range(JOBS)]
        told = tools.rq("info")
        assert all(name in told for name in managed), told
        assert "4 workers, 2 queues" in told
        assert all(name in tools.rq("info", "--by-queue") for name in managed)
        (shown,) = json.loads(tools.manage("rqstats", "--json"))["queues"]
        assert (shown["name"], shown["workers"]) == ("console", 3)
        jobs = [*paused, *marked]
        wait_for(lambda: all(job.get_status() == "finished" for job in jobs), timeout=90, message=host.log)
        assert runs(marker) == len(marked), "each once"
        assert [len(job.results()) for job in jobs] == [1] * len(jobs)
        by = ran_by(jobs)
        assert len(by) == 4, "each of them took some"
        assert set(managed) < set(by)
        (shown,) = json.loads(tools.manage("rqstats", "--json"))["queues"]
        assert (shown["finished_jobs"], shown["jobs"], shown["started_jobs"]) == (2 * JOBS, 0, 0)


@pytest.mark.timeout(180)
def test_rq_requeue_of_what_either_failed(host: AgentHost, managed: list[str], tools: Tools) -> None:
    queue = Queue("mail", connection=host.valkey.client)
    with tools.workers():
        wait_for(lambda: Worker.count(connection=host.valkey.client) == 4, message="all four have said hello")
        jobs = [queue.enqueue("tasks.fail") for _ in range(JOBS)]
        wait_for(lambda: queue.failed_job_registry.count == JOBS, timeout=60, message=host.log)
        first = ran_by(jobs)
        assert {name in managed for name in first} == {True, False}
        assert f"Requeueing {JOBS} jobs" in tools.rq("requeue", "--queue", "mail", "--all")
        wait_for(lambda: queue.failed_job_registry.count == JOBS, timeout=60, message=host.log)
        assert [len(job.results()) for job in jobs] == [2] * JOBS, "each ran once more"
        assert Worker.count(connection=host.valkey.client) == 4, "nobody has ended of it"
        told = tools.rq("info")
        assert all(f"{name} " in told for name in managed), told


@pytest.mark.timeout(120)
def test_rq_suspend_and_rq_empty(host: AgentHost, managed: list[str], tools: Tools, tmp_path: Path) -> None:
    queue, marker = Queue("mail", connection=host.valkey.client), tmp_path / "runs"
    tools.rq("suspend")
    emptied = [queue.enqueue("tasks.mark", str(marker)) for _ in range(3)]
    assert "3 jobs" in tools.rq("empty", "mail")
    assert not any(Job.exists(job.id, connection=host.valkey.client) for job in emptied)
    kept = queue.enqueue("tasks.mark", str(marker))
    tools.rq("resume")
    wait_for(lambda: kept.get_status() == "finished", message=host.log)
    assert runs(marker) == 1
