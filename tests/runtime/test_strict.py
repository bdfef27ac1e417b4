"""What a job under profile strict can reach, how it ends, and what becomes of a pool where a host cannot give it."""

import os
import re
import signal
from pathlib import Path
from typing import Any

from rq import Callback, Queue, Retry
from rq.job import Job

from pools.broker.tracebacks import parse_traceback
from pools.runtime.processes import ProcessId
from pools.runtime.sandbox.meter import children
from tests.runtime.enclosed import JOB_USER, enclosed, shared  # noqa: F401
from tests.runtime.places import places
from tests.runtime.plain_python import OF_PYTHON, interpreter
from tests.runtime.test_isolation import listeners  # noqa: F401
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for

PRELOAD = ["tasks", "hogs", "hermit"]


def told(profile: str = "strict", workers: int = 1, **changes: Any) -> dict[str, Any]:
    preload, policies = PRELOAD + changes.pop("preload", []), changes.pop("policies", [])
    spec = enclosed(workers, retry=changes.pop("retry", ()), profile=profile, **changes)
    spec["policies"] = policies
    spec["application"] |= {"interpreter": interpreter(), "preload": preload}
    return spec | {"admission": {"webhooks": "refuse"}, "environment": OF_PYTHON}


def pool(host: AgentHost, **changes: Any) -> str:
    uid, workers = new_uid(), changes.get("workers", 1)
    host.options = ["--job-user", JOB_USER] if JOB_USER else []
    host.configure(uid, told(**changes))
    host.start()
    host.wait_for_workers(uid, workers)
    return uid


def ended(host: AgentHost, job: Job) -> Any:
    wait_for(lambda: job.get_status() in ("finished", "failed"), timeout=60, message=host.log)
    return job.latest_result()


def test_a_job_reaches_nothing_outside(host: AgentHost, listeners: Any, shared: Path) -> None:  # noqa: F811
    uid = pool(host)
    assert host.pool(uid)["isolation"]["sandbox"][0] is True
    queue = Queue("mail", connection=host.valkey.client)

    def result(task: str, *args: Any) -> Any:
        found = ended(host, queue.enqueue(task, *args))
        assert found.exc_string is None, found.exc_string
        return found.return_value

    assert result("hogs.connect", *listeners) == {}
    port = str(host.valkey.client.connection_pool.connection_kwargs["port"])
    hunted = result("hermit.hunt", f":{port}/", str(host.state))
    assert hunted["clients"] == hunted["held"] == hunted["found"] == []
    assert result("hermit.processes") < 8
    can = result("hogs.look_around", str(shared))
    assert not any(can[name] for name in ("write outside", "write /tmp", "become root", "new namespace", "raw socket"))
    assert (can["write temporary"], can["fork"], can["uid"] != 0) == (True, True, True)
    assert result("hogs.usual")[:2] == ["hello", [1]]
    job = queue.enqueue("hermit.describe", 1, two=2, meta={"three": 3})
    said = ended(host, job).return_value
    assert (said["id"], said["args"], said["kwargs"], said["meta"]) == (job.id, [1], {"two": 2}, {"three": 3})
    assert said["said"].startswith("NoRedisInStrict: isolation profile strict: a job has no connection to Redis")


HOGS = [
    ("hogs.eat_memory", "MemoryError", "100 MiB of memory"),
    ("hogs.eat_memory_in_many_processes", "MemoryLimitError", "100 MiB of memory"),
    ("hogs.fork_bomb", "BlockingIOError", "16 processes"),
    ("hogs.flood_disk", "OutputLimitError", "4 MiB"),
    ("hogs.spin", "CpuLimitError", "1 s of processor time"),
]


def test_each_hog_dies_of_a_named_cause_and_its_sibling_finishes(host: AgentHost, shared: Path) -> None:  # noqa: F811
    pool(host, workers=2, cpu=1, writable=[str(shared)])
    queue = Queue("mail", connection=host.valkey.client)
    sibling = queue.enqueue("tasks.hold", str(shared / "held"), 280, job_timeout=300)
    wait_for((shared / "held").exists, timeout=30, message=host.log)
    for task, cause, text in HOGS:
        hog = queue.enqueue(task, job_timeout=300)
        said = str(ended(host, hog).exc_string)
        assert hog.get_status() == "failed", task
        assert places(host.valkey.client, "mail", hog.id) == ["failed"]
        assert parse_traceback(said).exc_type == cause, said
        assert text in said
    late = queue.enqueue("hogs.swallow_timeout", str(shared / "swallowed"), job_timeout=1)
    assert parse_traceback(ended(host, late).exc_string).exc_type == "rq.timeouts.JobTimeoutException"
    left = queue.enqueue("hogs.leave_a_process", str(shared / "pid"))
    ended(host, left)
    assert left.get_status() == "finished", left.latest_result().exc_string  # type: ignore[union-attr]
    (shared / "held.release").touch()
    ended(host, sibling)
    assert sibling.get_status() == "finished"
    assert not host.events("worker.lost")


def test_a_sandbox_that_dies_takes_only_the_job_that_runs(host: AgentHost, shared: Path) -> None:  # noqa: F811
    uid = pool(host, writable=[str(shared)])
    queue = Queue("mail", connection=host.valkey.client)
    (worker,) = host.workers(uid)

    def strike() -> None:
        (sandbox,) = children(worker["pid"])
        os.kill(sandbox, signal.SIGKILL)
        wait_for(lambda: ProcessId.of(sandbox) is None, message="the sandbox is gone")

    first = queue.enqueue("tasks.add", 1, 2)
    ended(host, first)
    strike()  # while the next horse waits in it
    second = queue.enqueue("tasks.add", 2, 3)
    assert [ended(host, job).return_value for job in (first, second)] == [3, 5]
    held = queue.enqueue("tasks.hold", str(shared / "held"))
    wait_for((shared / "held").exists, timeout=30, message=host.log)
    after = queue.enqueue("tasks.add", 3, 4)
    strike()
    assert ended(host, after).return_value == 7
    assert "terminated unexpectedly" in str(ended(host, held).exc_string)
    there = children(worker["pid"])
    assert [ended(host, queue.enqueue("tasks.add", n, n)).return_value for n in (1, 2)] == [2, 4]
    assert children(worker["pid"]) == there, "a sandbox lasts"
    assert [event["job_id"] for event in host.events("job.failed")] == [held.id]


def test_a_result_that_is_too_large_is_the_jobs_failure(host: AgentHost) -> None:
    pool(host, memory=1000)
    queue = Queue("mail", connection=host.valkey.client)
    large, small = queue.enqueue("builtins.bytes", 65 << 20), queue.enqueue("builtins.bytes", 3)
    assert ended(host, small).return_value == bytes(3)
    assert "ValueError: the job returned more than 64 MiB" in str(ended(host, large).exc_string)


SAME = [
    ("tasks.add", (1, 2), {}),
    ("tasks.fail", (), {}),
    ("tasks.fail", ("KeyError", "x"), {"retry": Retry(max=1)}),
    ("hermit.again", (), {}),
    ("hermit.remember", (True,), {"retry": Retry(max=1)}),
    ("hermit.remember", (False,), {}),
    ("hermit.nothing", (), {"meta": {"kept": [1]}}),
    ("hermit.lock", (), {}),
    ("no.such.task", (), {}),
    ("tasks.add", (7, 1), {"description": "the first with its key"}),
    ("tasks.add", (7, 2), {"description": "is answered"}),
    ("tasks.mark", ("MARK",), {"on_success": Callback("tasks.told"), "on_failure": Callback("tasks.told")}),
    ("tasks.fail", ("MARK",), {"on_success": Callback("tasks.told"), "on_failure": Callback("tasks.told")}),
    ("hermit.double", (4,), {"meta": {"schema": 2}}),
    ("time.sleep", (1.5,), {}),
    ("hermit.processes", (), {"description": "expires meanwhile"}),
]
POLICIES = [
    {"task": "tasks.fail", "failure_ttl": 600, "fallback": "tasks.instead"},
    {"task": "tasks.add", "idempotency_key": "0", "idempotency_keep": 600},
    {"task": "hermit.double", "schema_versions": [2]},
    {"task": "hermit.processes", "deadline": 1},
]
TIME = re.compile(r"20\d\d-[\d :-]+ UTC")
OF_A_RUN = {b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat", b"worker_name"}


def last_line(text: str | None) -> str:
    return (text or "").strip().rpartition("\n")[2]


def state(host: AgentHost, job: Job) -> Any:
    """The job's record and its results, but for what differs from run to run."""
    record = host.valkey.client.hgetall(job.key)
    lines = [
        (result.type.name, repr(result.return_value), TIME.sub("then", last_line(result.exc_string)))
        for result in job.results()
    ]
    where = places(host.valkey.client, "mail", job.id)
    return {name: value for name, value in record.items() if name not in OF_A_RUN}, lines, where


def test_the_broker_holds_what_it_holds_without_isolation(host: AgentHost, shared: Path) -> None:  # noqa: F811
    """With policies, callbacks and all."""
    found = []
    options = {"writable": [str(shared)], "policies": POLICIES}
    uid = pool(host, profile="none", **options)
    client = host.valkey.client
    queue = Queue("mail", connection=client)
    hunted = ended(host, queue.enqueue("hermit.hunt", "x", str(host.state))).return_value
    assert hunted["clients"], "the hunt of the other test finds what there is"
    for profile in ("none", "strict"):
        if profile == "strict":
            client.delete(*(key for kind in ("rq:job:*", "rq:results:*", "pw:once:*") for key in client.keys(kind)))
            client.delete("rq:failed:mail", "rq:finished:mail")
            host.configure(uid, told(**options))
            wait_for(lambda: "sandbox" in (host.pool(uid)["isolation"] or {}), timeout=60, message=host.log)
            host.wait_for_workers(uid, 1)
        marker = shared / "marker"
        jobs = []
        for n, (task, args, more) in enumerate(SAME):
            given = tuple(str(marker) if arg == "MARK" else arg for arg in args)
            jobs.append(queue.enqueue(task, args=given, job_id=f"same-{n}", **more))
        for job in jobs:
            ended(host, job)
        found.append([state(host, job) for job in jobs])
        backing = [Job.fetch(key.decode()[7:], connection=client) for key in client.keys("rq:job:fallback-*")]
        found[-1].append(sorted(ended(host, job).return_value for job in backing))
        found[-1].append(sorted((path.name, len(path.read_text().split())) for path in shared.glob("marker*")))
        for path in shared.glob("marker*"):
            path.unlink()
        assert [job.get_meta() for job in jobs[4:6]] == [{"runs": 1}] * 2, "stored with the retry"
    assert [len(part) for part in found[0][-2:]] == [3, 3], "fallbacks ran, and callbacks"
    assert [lines[-1] for _, lines, _ in found[0][9:11]] == [("SUCCESSFUL", "8", "")] * 2, "one answered the other"
    assert "expired" in str(found[0][-3]).lower()
    for case, without, within in zip([*SAME, "fallbacks", "callbacks"], *found, strict=True):
        assert within == without, case


def test_a_host_without_bubblewrap_refuses(host: AgentHost, tmp_path: Path) -> None:
    uid = new_uid()
    host.options = ["--job-user", JOB_USER] if JOB_USER else []
    host.environment = {"PATH": str(tmp_path)}
    spec = told()
    spec["application"]["interpreter"] = ""
    host.configure(uid, spec)
    host.start()
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    failure = wait_for(lambda: host.pool(uid).get("boot_failure"), timeout=60, message=host.log)
    assert "profile strict is refused, as this host lacks bubblewrap, sandbox (bubblewrap is not" in failure["message"]
    (event,) = wait_for(lambda: host.events("worker.boot_failed"), message="told once")
    assert "bubblewrap" in event["message"]
    assert job.get_status() == "queued"
