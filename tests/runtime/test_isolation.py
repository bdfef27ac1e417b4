"""What a job under profile standard can do and see, and what becomes of a pool where a host cannot give the profile."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rq import Queue

from pools.runtime.sandbox import landlock, user
from pools.runtime.sandbox.meter import children
from tests.runtime.enclosed import JOB_USER, enclosed, enclosed_pool, needs_isolation, shared  # noqa: F401
from tests.runtime.places import places
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.waiting import wait_for

CANARY = "canary-6d0a2f94"
REFUSED = {
    "signal the worker",
    "read the worker's environment",
    "read the worker's memory",
    "write outside",
    "remove outside",
    "write /tmp",
    "become root",
    "new namespace",
    "memory without a process",
    "raw socket",
    "nice below zero",
}


def result(host: AgentHost, task: str, *args: Any, **options: Any) -> Any:
    """What a job returns, once it has finished."""
    job = Queue("mail", connection=host.valkey.client).enqueue(task, *args, **options)
    wait_for(lambda: job.get_status() in ("finished", "failed"), timeout=60, message=host.log)
    found = job.latest_result()
    assert found is not None
    assert job.get_status() == "finished", found.exc_string
    return found.return_value


@needs_isolation
@pytest.mark.parametrize("horse", [1, 20])
def test_a_job_can_do_what_the_profile_leaves_it(host: AgentHost, shared: Path, horse: int) -> None:  # noqa: F811
    (shared / "there").touch()
    uid = enclosed_pool(host, horse=horse)
    attested = host.pool(uid)["isolation"]
    assert attested["user"] == [True, f"jobs run as uid {user.chosen(JOB_USER)[0]}"]
    assert {name for name, (holds, _) in attested.items() if not holds} <= {"namespace"}
    can = result(host, "hogs.look_around", str(shared))
    assert {name for name, possible in can.items() if possible is False} == REFUSED
    assert can["uid"] == user.chosen(JOB_USER)[0] != 0
    assert "poolwarden-job-" in can["temporary"]
    status = result(host, "hogs.status")
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert {int(uid) for uid in status["Uid"].split()} == {can["uid"]}
    again = result(host, "hogs.status")
    assert (again["Pid"] == status["Pid"]) is (horse > 1)
    assert result(host, "hogs.usual") == ["hello", [1], True]


@needs_isolation
def test_what_forks_the_horses_has_given_up_what_they_may_not_have(host: AgentHost) -> None:
    uid = enclosed_pool(host)
    assert result(host, "tasks.add", 1, 2) == 3
    (worker,) = host.workers(uid)
    (stable,) = children(worker["pid"])
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{stable}/status").read_text().splitlines())
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[kind], 16) for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {0}
    assert set(status["Uid"].split()) == {str(user.chosen(JOB_USER)[0])}
    assert status["PPid"] == str(worker["pid"])


@needs_isolation
def test_the_kernel_counts_the_processes_of_a_workers_jobs(host: AgentHost) -> None:
    attested = host.pool(enclosed_pool(host, processes=8))["isolation"]
    if not attested["namespace"][0]:
        pytest.fail(f"this host has no user namespaces: {attested['namespace'][1]}")
    first, second = result(host, "hogs.namespace"), result(host, "hogs.namespace")
    assert first == second != os.readlink("/proc/self/ns/user")
    # One more than the limit says where the next horse, which counts, is not there yet.
    assert result(host, "hogs.forks_given") in (7, 8)


@needs_isolation
def test_a_writable_folder_is_writable(host: AgentHost, shared: Path) -> None:  # noqa: F811
    (shared / "there").touch()
    enclosed_pool(host, writable=[str(shared)])
    can = result(host, "hogs.look_around", str(shared))
    assert (can["write outside"], can["remove outside"], can["write /tmp"]) == (True, True, False)


@pytest.fixture
def listeners(shared: Path) -> Iterator[tuple[int, int, str, str]]:  # noqa: F811
    """TCP port, UDP port, abstract name and path of sockets that answer."""
    with ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        abstract, named = f"poolwarden-{os.getpid()}", str(shared / "socket")
        for address in (f"\0{abstract}", named):
            unix = stack.enter_context(socket.socket(socket.AF_UNIX))
            unix.bind(address)
            unix.listen()
        os.chmod(named, 0o777)
        echo = threading.Thread(target=lambda: udp.sendto(*udp.recvfrom(1)))
        echo.start()
        yield tcp.getsockname()[1], udp.getsockname()[1], abstract, named
        udp_port = udp.getsockname()[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as poke:
            poke.sendto(b"x", ("127.0.0.1", udp_port))
        echo.join()


@needs_isolation
def test_network_probe(host: AgentHost, listeners: tuple[int, int, str, str]) -> None:
    """The network is the worker's, as docs/isolation.md says: only abstract sockets are out of reach."""
    enclosed_pool(host)
    reached = {"tcp": True, "udp": True, "pathname": True}
    if landlock.abi() < landlock.SCOPES_SINCE:
        reached["abstract"] = True
    assert result(host, "hogs.connect", *listeners) == reached


@needs_isolation
def test_no_environment_or_command_line_shows_a_secret(host: AgentHost) -> None:
    uid, names = new_uid(), {"token": "env://APP_TOKEN"}
    host.options = ["--secret-prefix", "env://APP_", *(["--job-user", JOB_USER] if JOB_USER else [])]
    host.environment = {"APP_TOKEN": CANARY}
    host.configure(uid, enclosed(2) | {"secrets": ["token"]}, secrets=names)
    host.start()
    host.wait_for_workers(uid, 2)
    assert result(host, "tasks.secret_length", "token") == len(CANARY)
    held, read = result(host, "hogs.find", CANARY[:-1], ["environ", "cmdline", "task/*/environ"])
    assert held == [], "the agent's own environment holds it, and no job may look there"
    assert read > 0


@needs_isolation
def test_a_horse_that_dies_between_its_jobs_leaves_nothing(host: AgentHost, shared: Path) -> None:  # noqa: F811
    """Where another job of it would follow, and its worker has nothing to do."""
    uid = enclosed_pool(host, horse=5, writable=[str(shared)])
    (worker,) = host.workers(uid)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(shared / "held"))
    wait_for(lambda: (shared / "held").exists() and (shared / "held").read_text(), message=host.log)
    (folder,) = Path("/tmp").glob(f"poolwarden-job-{worker['name']}-*")
    (folder / "tmp" / "left").touch()
    os.kill(int((shared / "held").read_text()), signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", timeout=30, message=host.log)
    wait_for(lambda: not folder.exists(), timeout=30, message="its folder is gone")


@needs_isolation
def test_a_worker_that_was_killed_leaves_nothing_behind(host: AgentHost, shared: Path) -> None:  # noqa: F811
    """Upkeep, too, is not root's: it reads what producers wrote."""
    uid = enclosed_pool(host, writable=[str(shared)])
    (worker,) = host.workers(uid)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.hold", str(shared / "held"))
    wait_for((shared / "held").exists, timeout=30, message=host.log)
    signal_worker(worker, signal.SIGKILL)
    wait_for(lambda: job.get_status() == "failed", timeout=30, message=host.log)
    assert places(host.valkey.client, "mail", job.id) == ["failed"]
    wait_for(lambda: worker["name"].encode() not in b" ".join(host.valkey.client.smembers("rq:workers")), timeout=60)
    wait_for(lambda: not list(Path("/tmp").glob(f"poolwarden-job-{worker['name']}-*")), timeout=30)


@pytest.mark.parametrize(
    ("options", "changes", "control"),
    [
        (["--job-user", "no-such-user-here"], {}, "user (there is no user no-such-user-here)"),
        (["--job-user", "root"], {}, "user (root is root)"),
        pytest.param(
            [],
            {},
            "user (the agent runs as root, and no --job-user says whose jobs are)",
            marks=pytest.mark.skipif(os.getuid() != 0, reason="the agent is not root"),
        ),
        pytest.param(
            ["--job-user", JOB_USER] if JOB_USER else [],
            {"writable": ["/no/such/folder"]},
            "writable folder /no/such/folder (missing)",
            marks=needs_isolation,
        ),
    ],
)
def test_a_host_that_cannot_give_the_profile_refuses(
    host: AgentHost, options: list[str], changes: dict[str, Any], control: str
) -> None:
    uid = new_uid()
    host.options = options
    host.configure(uid, enclosed(**changes))
    host.start()
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    failure = wait_for(lambda: host.pool(uid).get("boot_failure"), timeout=60, message=host.log)
    assert failure["message"] == f"Isolation: profile standard is refused, as this host lacks {control}"
    (event,) = wait_for(lambda: host.events("worker.boot_failed"), message="told once")
    assert control in event["message"]
    assert job.get_status() == "queued"
