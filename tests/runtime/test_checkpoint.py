"""A job that has to end early saves its state first, and its delivery policy says whether it runs again."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.runtime import checkpoint
from tests.runtime.enclosed import JOB_USER, enclosed, needs_isolation, shared  # noqa: F401
from tests.runtime.holding import gone, hold
from tests.runtime.specs import spec
from tests.runtime.test_strict import told
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for

AGAIN = [{"task": "checkpoints.count", "delivery": "at_least_once"}]


def serve(host: AgentHost, wanted: dict[str, Any]) -> None:
    uid = new_uid()
    host.options = ["--stop-timeout", "0.5", *(["--job-user", JOB_USER] if JOB_USER else [])]
    host.configure(uid, wanted)
    host.start()
    host.wait_for_workers(uid, 1)


def begun(host: AgentHost, path: Path, *how: str) -> Job:
    queue = Queue("mail", connection=host.valkey.client)
    job = queue.enqueue("checkpoints.count", str(path), *how, job_timeout=300)
    wait_for(path.exists, timeout=30, message=host.log)
    return job


def said(job: Job) -> str:
    result = job.latest_result()
    return str(result.exc_string) if result else ""


SPECS: dict[str, Callable[[str], dict[str, Any]]] = {
    "none": lambda folder: spec(),
    "standard": lambda folder: enclosed(writable=[folder]),
    "strict": lambda folder: told(writable=[folder]),
}


@needs_isolation
@pytest.mark.parametrize("profile", SPECS)
def test_it_saves_its_state_and_goes_on_from_there(host: AgentHost, shared: Path, profile: str) -> None:  # noqa: F811
    serve(host, SPECS[profile](str(shared)) | {"policies": AGAIN})
    job = begun(host, shared / "steps")
    assert host.stop() == 0
    steps = (shared / "steps.saved").read_text()
    assert int(steps) >= 1
    assert job.get_status(refresh=True) == "queued"
    assert "CheckpointSaved: its worker was stopped; it saved its state and ended." in said(job)
    assert not host.events("worker.lost"), "its worker ended in good order"
    assert host.valkey.client.hget(job.key, "pw_lost") == b"0", "nor is it one of the losses that its policy allows"
    host.start()
    wait_for(lambda: job.get_status(refresh=True) == "finished", timeout=60, message=host.log)
    assert job.return_value() == f"resumed at {steps}"


@pytest.mark.parametrize(
    ("how", "text", "kind"),
    [
        ("well", "it saved its state and ended", "CheckpointSaved"),
        ("unheard", "it saved its state and ended", "CheckpointSaved"),
        ("badly", "saving its state failed", "CheckpointFailed"),
    ],
)
def test_without_a_policy_it_is_a_dead_letter_that_says_so(
    host: AgentHost, tmp_path: Path, how: str, text: str, kind: str
) -> None:
    serve(host, spec())
    job = begun(host, tmp_path / "steps", how)
    assert host.stop() == 0
    assert job.get_status(refresh=True) == "failed"
    assert said(job).startswith(f"{kind}: its worker was stopped; ") and text in said(job)
    assert [event["job_id"] for event in host.events("job.failed")] == [job.id]


def test_one_that_takes_too_long_is_killed(host: AgentHost, tmp_path: Path) -> None:
    serve(host, spec())
    job = begun(host, tmp_path / "steps", "slowly")
    assert host.stop(timeout=60) == 0
    assert (tmp_path / "steps.saved").exists()
    assert job.get_status(refresh=True) == "failed"
    assert "it did not end within its grace" in said(job)
    (lost,) = host.events("worker.lost")
    assert lost["exit"] == "signal 9, cut after its grace"


def test_a_later_job_of_the_process_is_not_asked(host: AgentHost, tmp_path: Path) -> None:
    serve(host, spec(horse={"jobs": 5}))
    queue = Queue("mail", connection=host.valkey.client)
    first = queue.enqueue("checkpoints.briefly", str(tmp_path / "asked"))
    job, horse = hold(host, tmp_path / "held")
    assert first.get_status(refresh=True) == "finished"
    assert not checkpoint.is_awaited_by(horse)
    assert host.stop() == 0
    assert "it did not end within its grace" in said(job)
    assert not (tmp_path / "asked").exists()
    gone(horse)


def test_only_a_running_job_has_a_last_word() -> None:
    with pytest.raises(RuntimeError, match="on_stop is for a running job"):
        checkpoint.on_stop(time.monotonic)
    assert not checkpoint.is_awaited_by(0)
    assert checkpoint.told(0) == checkpoint.told(9) == checkpoint.told(1 << 8) == ""
