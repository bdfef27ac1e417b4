"""Jobs that take more than their share end with a cause that has a name; their siblings finish."""

import tempfile
from pathlib import Path

import pytest
from rq import Queue
from rq.job import Job

from pools.broker.tracebacks import parse_traceback
from tests.runtime.enclosed import enclosed_pool, needs_isolation, shared  # noqa: F401
from tests.runtime.places import places
from tests.support.agents import AgentHost
from tests.support.waiting import wait_for

# Task, cause, and what its text or a line of explanation says.
HOGS = [
    ("hogs.eat_memory", "MemoryError", "100 MiB of memory"),
    ("hogs.eat_memory_in_many_processes", "MemoryLimitError", "100 MiB of memory"),
    ("hogs.fork_bomb", "BlockingIOError", "16 processes"),
    ("hogs.thread_bomb", "RuntimeError", "16 processes"),
    ("hogs.flood_files", "OutputLimitError", "4 MiB"),
    ("hogs.dig_deep", "OutputLimitError", "4 MiB"),
    ("hogs.flood_disk", "OutputLimitError", "4 MiB"),
    ("hogs.one_large_file", "OSError", "4 MiB"),
    ("hogs.print_much", "OSError", "4 MiB"),
    ("hogs.spin", "CpuLimitError", "1 s of processor time"),
    ("hogs.open_files", "OSError", "256 open files"),
]


def said(job: Job) -> str:
    result = job.latest_result()
    return str(result.exc_string) if result else ""


def ended(host: AgentHost, job: Job) -> None:
    wait_for(lambda: job.get_status() in ("failed", "finished"), timeout=60, message=host.log)


@needs_isolation
@pytest.mark.parametrize("horse", [1, 20])
def test_each_hog_dies_of_a_named_cause_and_its_siblings_finish(host: AgentHost, horse: int, shared: Path) -> None:  # noqa: F811
    enclosed_pool(host, 2, horse, cpu=1 if horse == 1 else 2, writable=[str(shared)])
    queue = Queue("mail", connection=host.valkey.client)
    for task, cause, text in HOGS:
        sibling = queue.enqueue("tasks.hold", str(shared / f"{task}-held"), job_timeout=300)
        wait_for((shared / f"{task}-held").exists, timeout=30, message=host.log)
        hog = queue.enqueue(task, job_timeout=300)
        ended(host, hog)
        (shared / f"{task}-held.release").touch()
        ended(host, sibling)
        assert sibling.get_status() == "finished", said(sibling)
        assert hog.get_status() == "failed", task
        assert places(host.valkey.client, "mail", hog.id) == ["failed"]
        assert parse_traceback(said(hog)).exc_type == cause, said(hog)
        assert text.replace("1 s", "1 s" if horse == 1 else "2 s") in said(hog)
    assert not host.events("worker.lost")
    names = [channel.directory.name for channel in host.channels()]
    host.stop()
    assert not [path for name in names for path in Path(tempfile.gettempdir()).glob(f"poolwarden-job-{name}*")]


@needs_isolation
@pytest.mark.parametrize("hog", ["hogs.open_files", "hogs.thread_bomb"])
def test_a_horse_whose_job_met_a_limit_serves_no_other(host: AgentHost, hog: str) -> None:
    """What the job holds to its end, and beyond, would be missing to the next."""
    enclosed_pool(host, horse=20)
    queue = Queue("mail", connection=host.valkey.client)
    jobs = [queue.enqueue(task) for task in ("tasks.horse", hog, "tasks.horse", "tasks.horse")]
    ended(host, jobs[-1])
    before, after, last = (jobs[index].return_value() for index in (0, 2, 3))
    assert before != after == last
    assert jobs[1].get_status() == "failed"
    assert not host.events("worker.lost")


@needs_isolation
def test_what_a_job_started_does_not_outlive_it(host: AgentHost, shared: Path) -> None:  # noqa: F811
    enclosed_pool(host, writable=[str(shared)])
    queue = Queue("mail", connection=host.valkey.client)
    job = queue.enqueue("hogs.leave_a_process", str(shared / "pid"))
    ended(host, job)
    assert job.get_status() == "finished", said(job)
    left = int((shared / "pid").read_text())
    wait_for(lambda: not Path(f"/proc/{left}").exists(), message="the grandchild is gone")


@needs_isolation
@pytest.mark.parametrize("horse", [1, 20])
def test_a_swallowed_timeout_ends_an_enclosed_job(host: AgentHost, shared: Path, horse: int) -> None:  # noqa: F811
    enclosed_pool(host, horse=horse, writable=[str(shared)])
    queue = Queue("mail", connection=host.valkey.client)
    job = queue.enqueue("hogs.swallow_timeout", str(shared / "swallowed"), job_timeout=1)
    after = queue.enqueue("tasks.add", 1, 2)
    ended(host, after)
    assert (shared / "swallowed").exists()
    assert parse_traceback(said(job)).exc_type == "rq.timeouts.JobTimeoutException"


@needs_isolation
def test_retry_rules_call_a_limit_by_its_name(host: AgentHost) -> None:
    rules = [{"task": "*", "max": 1, "backoff": 0, "transient": ["CpuLimitError"]}]
    enclosed_pool(host, retry=rules, cpu=1)
    queue = Queue("mail", connection=host.valkey.client)
    spin, flood = queue.enqueue("hogs.spin", job_timeout=300), queue.enqueue("hogs.flood_disk", job_timeout=300)
    for job, attempts in ((spin, ["FAILED", "RETRIED"]), (flood, ["FAILED"])):
        wait_for(lambda job=job: job.get_status() == "failed", timeout=60, message=host.log)
        assert [result.type.name for result in job.results()] == attempts
