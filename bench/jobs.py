"""No-op jobs a second: our workers beside RQ's own, on one broker in one run.

    python -m bench.jobs [--jobs 2000]

One worker process each, jobs enqueued beforehand; a rate is from the first job's start to the last one's end, as their
own records say. ``CPU`` is the worker's and its horses' for a job, start-up included: it says more than the rate on a
machine that is not idle. ``commands`` are the broker's count, those inside scripts among them (a table below tells them
apart); ``round trips`` its reads, a horse's closed connection among them. *Isolated* is profile standard,
*in a sandbox* profile strict, with an interpreter that its jobs' user may start; both with a process for each job.
*Preloaded*: the pool's spec names the task's module, so that no job imports it; ``rq worker`` has no such setting.
The physical limits of this client on this machine: a bare loop that claims and acknowledges the same jobs, and does
nothing else, and a bare fork of a process that has loaded what a worker loads.
"""

import argparse
import os
import pstats
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
from rq import Queue
from rq.utils import utcparse

from bench import traffic
from bench.server import running_server
from pools.runtime.channel import Channel, Control
from pools.runtime.claims import Claims
from pools.runtime.keys import Keys
from pools.runtime.refusals import Admission
from pools.runtime.retry_budget import RetryBudget
from pools.runtime.ringer import Listening, Ringer
from pools.runtime.rules import PLAIN
from pools.runtime.sandbox.limits import Isolation
from pools.runtime.worker_config import SecretAccess, WorkerConfig
from tests.runtime.plain_python import interpreter

ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = ROOT / "pools" / "runtime" / "launch.py"
TASK = "bench.task.nothing"
PROFILES = {"none": "a process for each job", "standard": "isolated", "strict": "in a sandbox"}
LISTS = "rq:queue:mail", "rq:queue:mail:intermediate"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    jobs = parser.parse_args().jobs
    with running_server() as port, tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as home:
        client = redis.Redis(port=port)
        print(f"{'':34}{'jobs/s':>10}{'of stock':>10}{'CPU ms':>10}{'commands':>10}{'round trips':>13}")
        stock = measure(client, "rq worker", jobs // 2, lambda: rq_worker(port))
        measure(client, "rq worker, SimpleWorker", jobs, lambda: rq_worker(port, "rq.SimpleWorker"), stock)
        for profile, name in PROFILES.items():
            python = interpreter() if profile == "strict" else ""
            for preload in ([], [TASK.rpartition(".")[0]]):
                start = partial(ours, port, Path(home), 1, profile=profile, python=python, preload=preload)
                measure(client, f"ours, {name}{', preloaded' if preload else ''}", jobs, start, stock)
        measure(client, "ours, a process for 200 jobs", jobs * 2, lambda: ours(port, Path(home), 200), stock)
        measure(client, "bare claim and acknowledge", jobs, lambda: bare(client), stock)
        forking()
        heard(port, client, Path(home), jobs // 10)
        waiting(port, Path(home), client)
        profiled(port, Path(home), client, jobs // 4, 1, "a process for each job")
        profiled(port, Path(home), client, jobs, 200, "a process for 200 jobs")


def measure(client: redis.Redis, name: str, jobs: int, start: Callable[[], Any], stock: float | None = None) -> float:
    client.flushall()
    queue = Queue("mail", connection=client)
    queue.enqueue_many([Queue.prepare_data(TASK, job_id=f"job-{n}") for n in range(jobs)])
    before = counts(client)
    began, used = time.perf_counter(), cpu()
    with start():
        while any(map(client.llen, LISTS)) or client.hlen(Keys().claims) or client.zcard("rq:wip:mail"):
            time.sleep(0.2)
        took = time.perf_counter() - began
    after = counts(client)
    records = [client.hmget(f"rq:job:job-{n}", "started_at", "ended_at") for n in range(jobs)]
    if records[0][0]:
        times = [(utcparse(s.decode()), utcparse(e.decode())) for s, e in records]  # type: ignore[union-attr]
        took = (max(e for _, e in times) - min(s for s, _ in times)).total_seconds()
    rate = jobs / took
    ratio = f"{rate / stock:.1f} x" if stock else ""
    commands, reads = ((now - then) / jobs for now, then in zip(after, before, strict=True))
    print(
        f"{name:34}{rate:>10,.0f}{ratio:>10}{(cpu() - used) / jobs * 1000:>10.2f}{commands:>10.1f}{reads:>13.1f}",
        flush=True,
    )
    return rate


def cpu() -> float:
    """Seconds that processes used which this one started and has seen end, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def counts(client: redis.Redis) -> tuple[int, int]:
    """Commands that the broker ran, inside scripts too, and reads from its clients, since it started."""
    stats: dict[str, dict[str, int]] = client.info("commandstats")  # type: ignore[assignment]
    return sum(entry["calls"] for entry in stats.values()), client.info("stats")["total_reads_processed"]  # type: ignore[index]


@contextmanager
def rq_worker(port: int, kind: str = "rq.Worker") -> Iterator[None]:
    command = [sys.executable, "-m", "rq.cli", "worker", "mail", "--url", f"redis://localhost:{port}", "-w", kind]
    with ended(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
        yield


@contextmanager
def ours(
    port: int, home: Path, horse_jobs: int, *launcher: str, profile: str = "none", python: str = "", preload: Any = ()
) -> Iterator[None]:
    channel = Channel(home / "worker")
    channel.directory.mkdir()
    channel.order(Control(paused=False, config=1))
    command = [python or sys.executable, *launcher, str(LAUNCHER)]
    with (home / "output.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log)
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(told(port, channel.directory, horse_jobs, profile, list(preload)).dumps().encode())
    with ended(process):
        yield
    shutil.rmtree(channel.directory)


def told(port: int, channel: Path, horse_jobs: int, profile: str, preload: list[str]) -> WorkerConfig:
    return WorkerConfig(
        purpose="work",
        redis_url=f"redis://localhost:{port}",
        worker="bench-worker",
        agent="bench",
        agent_pid=os.getpid(),
        host="bench",
        pool_uid="bench",
        pool="bench",
        config=1,
        channel=str(channel),
        bell=str(channel / "bell"),
        preload=preload,
        queues=["mail"],
        job_timeout=180,
        result_ttl=500,
        failure_ttl=500,
        serializer="pickle",
        horse_jobs=horse_jobs,
        admission=Admission(),
        retry=[],
        policies=[],
        isolation=Isolation(profile, 1024, 3600, 1024, 64, 1024, [], []),
        job_user="nobody" if os.getuid() == 0 else "",
        rules=PLAIN,
        retry_budget=RetryBudget(),
        secrets=SecretAccess({}, [], {}),
        lost=[],
        tidy=False,
    )


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def bare(client: redis.Redis) -> Iterator[None]:
    claims, queues = Claims(Keys(), "bare"), [Queue("mail", connection=client)]
    while found := claims.take(client, queues):
        claims.acknowledge(client, queues[0], found.job_id)
    yield


def forking() -> None:
    """What a process for each job can cost at the least: fork such a worker, and let the child end at once."""
    code = "import gc, os, time, rq.cli, pools.runtime.startup as _; gc.freeze(); began = time.perf_counter()\n"
    code += "for _ in range(300):\n    pid = os.fork()\n    pid or os._exit(0)\n    os.waitpid(pid, 0)\n"
    code += "print(300 / (time.perf_counter() - began))"
    before = cpu()
    rate = float(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True).stdout)
    print(f"{'bare fork of such a process':34}{rate:>10,.0f}{'':10}{(cpu() - before) / 300 * 1000:>10.2f}")


def heard(port: int, client: redis.Redis, home: Path, jobs: int) -> None:
    workers = {
        "rq worker": lambda: rq_worker(port),
        "a process each": lambda: ours(port, home, 1),
        "a process for 200": lambda: ours(port, home, 200),
    }
    columns = {}
    for name, worker in workers.items():
        client.flushall()
        Queue("mail", connection=client).enqueue_many([Queue.prepare_data(TASK) for _ in range(jobs)])
        with traffic.overheard(port) as columns[name], worker():
            traffic.settle(client)
    traffic.table(jobs, columns)


def waiting(port: int, home: Path, client: redis.Redis, jobs: int = 22) -> None:
    """How long a job waits for an idle worker, which an agent's ringer wakes."""
    client.flushall()
    queue = Queue("mail", connection=client)
    waits: list[float] = []
    ringer = Ringer(f"redis://localhost:{port}", Keys())
    ringer.listening = [Listening(home / "worker" / "bell", ["mail"], 1)]
    with ours(port, home, 1):
        ringer.start()
        for n in range(jobs):
            time.sleep(0.3 + n % 7 / 10)
            job = queue.enqueue(TASK)
            while job.get_status() != "finished":
                time.sleep(0.05)
            job.refresh()
            assert job.enqueued_at
            assert job.started_at
            waits.append((job.started_at - job.enqueued_at).total_seconds() * 1000)
    ringer.close()
    waits = sorted(waits[2:])
    print(f"\nenqueue to start, idle worker: p50 {statistics.median(waits):.1f} ms, longest {waits[-1]:.1f} ms")


def profiled(port: int, home: Path, client: redis.Redis, jobs: int, horse_jobs: int, what: str) -> None:
    """Where the worker's time goes, and, as the worker waits for it, the horse's."""
    client.flushall()
    Queue("mail", connection=client).enqueue_many([Queue.prepare_data(TASK) for _ in range(jobs)])
    out = home / "profile"
    with ours(port, home, horse_jobs, "-m", "cProfile", "-o", str(out)):
        while client.llen("rq:queue:mail") or client.zcard("rq:wip:mail"):
            time.sleep(0.2)
    print(f"\nWhere the worker's time goes, {what}:")
    pstats.Stats(str(out)).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
