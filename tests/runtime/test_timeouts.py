"""A job's time ends from outside its horse, whatever the job does with the exception that tells it so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.broker.tracebacks import parse_traceback
from pools.runtime.processes import ProcessId
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


@pytest.fixture
def lone_host(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[AgentHost]:
    """A host with a Valkey of its own, to stop and start."""
    made = AgentHost(tmp_path / "host", own_valkey)
    yield made
    made.close()


def swallow(host: AgentHost, marker: Path, **changes: Any) -> tuple[Job, dict[str, Any]]:
    """A job of one second that swallows its timeout, and the only worker, which runs it."""
    uid = new_uid()
    host.configure(uid, spec(**changes))
    host.start()
    (worker,) = host.wait_for_workers(uid, 1)
    queue = Queue("mail", connection=host.valkey.client)
    return queue.enqueue("hogs.swallow_timeout", str(marker), job_timeout=1), worker


@pytest.mark.parametrize("horse", [1, 20])
def test_a_swallowed_timeout_ends_the_job_and_no_other(host: AgentHost, tmp_path: Path, horse: int) -> None:
    job, worker = swallow(host, tmp_path / "swallowed", horse={"jobs": horse})
    after = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 2)
    wait_for(lambda: after.get_status() == "finished", timeout=60, message=host.log)
    assert (tmp_path / "swallowed").exists()
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    found = parse_traceback(job.latest_result().exc_string or "")
    assert found.exc_type == "rq.timeouts.JobTimeoutException"
    assert found.message == "it ran on after its 1 s and 5 s of grace."
    assert [event["job_id"] for event in host.events("job.failed")] == [job.id]
    assert [one["pid"] for one in host.heartbeat()["workers"]] == [worker["pid"]]


def test_retry_rules_take_it_for_a_timeout(host: AgentHost, tmp_path: Path) -> None:
    rule = {"task": "hogs.*", "max": 1, "backoff": 0, "transient": ["rq.timeouts.JobTimeoutException"]}
    job, _ = swallow(host, tmp_path / "swallowed", retry=[rule])
    wait_for(lambda: job.get_status() == "failed", timeout=60, message=host.log)
    assert [result.type.name for result in job.results()] == ["FAILED", "RETRIED"]


def test_a_lost_run_may_be_repeated_but_one_out_of_time_is_not(host: AgentHost, tmp_path: Path) -> None:
    policies = [{"task": "hogs.*", "delivery": "at_least_once"}]
    job, _ = swallow(host, tmp_path / "swallowed", policies=policies)
    wait_for(lambda: job.get_status() == "failed", timeout=60, message=host.log)
    assert len(job.results()) == 1


def test_it_needs_no_redis(lone_host: AgentHost, tmp_path: Path) -> None:
    host, marker = lone_host, tmp_path / "swallowed"
    job, worker = swallow(host, marker)
    wait_for(marker.exists, timeout=30, message=host.log)
    horses = [status.horse for status in (channel.status() for channel in host.channels()) if status]
    host.valkey.kill()
    wait_for(lambda: not any(horse and horse.alive for horse in horses), timeout=60, message=host.log)
    host.valkey.start()
    wait_for(lambda: job.get_status() == "failed", timeout=60, message=host.log)
    assert ProcessId.of(worker["pid"]) is not None
