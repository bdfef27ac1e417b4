"""A job that runs for as long as a test wants."""

from pathlib import Path
from typing import Any

from rq import Queue
from rq.job import Job

from pools.runtime.processes import ProcessId
from tests.support.agents import AgentHost
from tests.support.waiting import wait_for


def hold(host: AgentHost, marker: Path, **options: Any) -> tuple[Job, int]:
    """A job that runs until ``<marker>.release`` exists; returns its horse's pid, too."""
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(marker), **options)
    wait_for(lambda: marker.exists() and marker.read_text().endswith("\n"), message=f"the job runs: {host.log()}")
    wait_for(lambda: any(s and s.horse for s in (c.status() for c in host.channels())), message="the horse is noted")
    return job, int(marker.read_text().splitlines()[-1])


def release(marker: Path) -> None:
    Path(f"{marker}.release").touch()


def gone(pid: int) -> None:
    """Wait until the process has ended: a signal that was sent is not yet one that arrived."""
    wait_for(lambda: ProcessId.of(pid) is None, message=f"process {pid} ends")


def runs(marker: Path) -> int:
    """How often the job began."""
    return len(marker.read_text().splitlines())
