"""The demo's producer as a real process against a real Valkey, and its jobs under stock `rq worker`."""

import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import produce
import pytest
import stdlib_jobs
from redis import Redis
from rq import Queue
from rq.job import Job

from tests.demo.conftest import DEMO
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

STDLIB = Path(sysconfig.get_path("stdlib"))
QUEUES = ("stdlib.parse", "stdlib.compress")
Producer = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def producer() -> Iterator[Producer]:
    """Starts `produce.py`; what still runs at the test's end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(server: ValkeyServer, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(DEMO / "produce.py"), "--every", "0.05", *options]
        environment = os.environ | {"POOLWARDEN_REDIS_URL": server.url}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def waiting(connection: Redis, queue: str) -> list[str]:
    return Queue(queue, connection).get_job_ids()


def stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return output


def test_it_fills_each_queue_to_the_bound_and_stops_at_once(valkey: ValkeyServer, producer: Producer) -> None:
    process = producer(valkey, "--max-waiting", "30")
    wait_for(lambda: all(len(waiting(valkey.client, queue)) == 30 for queue in QUEUES), message="both queues are full")
    valkey.client.ltrim("rq:queue:stdlib.parse", 10, -1)  # as if workers had taken ten
    wait_for(lambda: len(waiting(valkey.client, "stdlib.parse")) == 30, message="the taken jobs are replaced")
    output = stop(process)
    assert f"{len(produce.find_modules(STDLIB))} modules of the standard library in {STDLIB}" in output
    assert ("no `test` package" in output) is not (STDLIB / "test").is_dir()
    assert len(waiting(valkey.client, "stdlib.compress")) == 30


def test_a_restart_duplicates_nothing(valkey: ValkeyServer, producer: Producer) -> None:
    for bound in (20, 40):
        process = producer(valkey, "--max-waiting", str(bound))
        wait_for(lambda n=bound: len(waiting(valkey.client, "stdlib.parse")) == n, message=f"{bound} jobs wait")
        stop(process)
    ids = waiting(valkey.client, "stdlib.parse")
    assert len(set(ids)) == len(ids) == 40


def test_it_outlives_a_restart_of_the_broker(own_valkey: ValkeyServer, producer: Producer) -> None:
    process = producer(own_valkey, "--max-waiting", "10")
    wait_for(lambda: len(waiting(own_valkey.client, "stdlib.parse")) == 10, message="the queue is full")
    own_valkey.kill()
    assert process.stdout is not None
    wait_for(lambda: "trying again" in process.stdout.readline(), timeout=30, message="it says that Redis is away")
    own_valkey.start()
    own_valkey.client.ltrim("rq:queue:stdlib.parse", 5, -1)
    wait_for(lambda: len(waiting(own_valkey.client, "stdlib.parse")) == 10, timeout=30, message="it goes on")
    stop(process)


def test_after_the_first_round_one_job_at_a_time(valkey: ValkeyServer) -> None:
    queue = Queue("stdlib.parse", valkey.client, serializer="json")
    modules = [STDLIB / f"{name}.py" for name in ("abc", "ast", "bdb")]
    feed = produce.Feed(queue, stdlib_jobs.parse_module, STDLIB, modules)
    stop = threading.Event()
    feed.send(10, stop)
    assert queue.job_ids == ["stdlib-parse-abc", "stdlib-parse-ast", "stdlib-parse-bdb"]
    feed.send(10, stop)
    assert queue.count == 3  # every module's job is still known
    for job_id in queue.job_ids:
        Job.fetch(job_id, valkey.client, serializer="json").delete()
    feed.send(10, stop)
    assert queue.job_ids == ["stdlib-parse-abc"]


def test_ids_are_distinct() -> None:
    modules = [path.relative_to(STDLIB) for path in produce.find_modules(STDLIB)]
    assert len({produce.job_id_for("stdlib.parse", module) for module in modules}) == len(modules) > 500


def test_a_missing_test_package_is_said(tmp_path: Path) -> None:
    assert "no `test` package" in produce.describe(tmp_path, [])
    (tmp_path / "test").mkdir()
    assert "no `test` package" not in produce.describe(tmp_path, [])


@pytest.mark.skipif(sys.platform == "win32", reason="winreg and msvcrt exist on Windows")
@pytest.mark.parametrize("with_test_package", [False, True])
def test_stock_workers_meet_several_causes_of_failure(valkey: ValkeyServer, out: Path, with_test_package: bool) -> None:
    names = ["abc.py", "json/decoder.py", "asyncio/windows_utils.py", "ctypes/_endian.py", "urllib/__init__.py"]
    expected = {"stdlib_jobs.UnresolvedImport", "stdlib_jobs.EmptyModule"}
    if with_test_package:
        if not (STDLIB / "test" / "tokenizedata").is_dir():
            pytest.skip("this Python has no test package")
        names += ["test/tokenizedata/badsyntax_3131.py", "test/tokenizedata/badsyntax_pep3120.py"]
        expected |= {"SyntaxError", "UnicodeDecodeError"}
    queues = [Queue(name, valkey.client, serializer="json") for name in QUEUES]
    for queue, job in zip(queues, (stdlib_jobs.parse_module, stdlib_jobs.compress_module), strict=True):
        produce.Feed(queue, job, STDLIB, [STDLIB / name for name in names]).send(100, threading.Event())

    rq = [str(Path(sys.executable).with_name("rq")), "worker", "--burst", "--url", valkey.url, "--serializer", "json"]
    subprocess.run([*rq, "--path", str(DEMO), *QUEUES], check=True, timeout=90, capture_output=True)

    failed = [job_id for queue in queues for job_id in queue.failed_job_registry.get_job_ids()]
    jobs = Job.fetch_many(failed, valkey.client, serializer="json")
    causes = Counter(job.latest_result().exc_string.strip().splitlines()[-1].split(":")[0] for job in jobs if job)
    assert set(causes) == expected
    assert len(list(out.rglob("*.json"))) == 2 * len(names) - len(failed)
