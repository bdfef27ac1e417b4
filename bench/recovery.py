"""How long until the job of a lost worker is decided, and how many jobs a storm of SIGTERMs loses: ours beside stock.

    python -m bench.recovery [--rounds 5] [--patience 30]

One Valkey, one run. ``decided``: the job has left *started* (put back, or a dead letter). Stock workers need 90 s and
more, so they are given ``--patience`` seconds and then counted as slower. The aims are 2 s and 20 s, and no job lost.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import redis
from rq import Queue, Worker
from rq.job import Job

from tests.runtime.conftest import APPLICATION
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid, signal_worker
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

JOBS, TERM_ROUNDS, WORKERS = 200, 8, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as folder:
        valkey = ValkeyServer(Path(folder) / "valkey", free_port())
        valkey.start()
        try:
            run(Path(folder), valkey, given.rounds, given.patience)
        finally:
            valkey.kill()


def run(folder: Path, valkey: ValkeyServer, rounds: int, patience: int) -> None:
    killed = [kill_worker(folder / f"worker-{n}", valkey) for n in range(rounds)]
    lost = [lose_host(folder / f"host-{n}", valkey) for n in range(2)]
    theirs = kill_stock_worker(folder, valkey, patience)
    stock = f"> {patience} s" if theirs is None else f"{theirs:.1f} s"
    print(f"worker SIGKILL: median {median(killed):.2f} s, longest {max(killed):.2f} s, aim 2 s; stock {stock}")
    print(f"host loss: longest of {len(lost)} {max(lost):.1f} s, aim 20 s; stock {stock}")
    ours, beside = term_ours(folder / "term", valkey), term_stock(valkey)
    print(f"SIGTERM under load, {JOBS} jobs: lost or stuck {ours}, aim 0; stock {beside}")


def kill_worker(folder: Path, valkey: ValkeyServer) -> float:
    """Seconds from the SIGKILL of a worker to the decision about its job."""
    with host(folder, valkey) as ours:
        (worker,) = serve(ours, 1)
        job = held(valkey.client, folder)
        began = time.monotonic()
        signal_worker(worker, signal.SIGKILL)
        return decided(job, began, 60)


def lose_host(folder: Path, valkey: ValkeyServer) -> float:
    """Seconds from the death of an agent with all its workers to the decision about their job by another agent."""
    with host(folder, valkey) as ours, host(folder / "other", valkey, "other") as other:
        (worker,) = serve(ours, 1)
        other.start()
        wait_for(other.heartbeat, timeout=30)
        job = held(valkey.client, folder)
        ours.kill()
        began = time.monotonic()
        signal_worker(worker, signal.SIGKILL)
        return decided(job, began, 60)


def kill_stock_worker(folder: Path, valkey: ValkeyServer, patience: int) -> float | None:
    """The same for `rq worker` with its maintenance at work in a second one; None: not within ``patience`` seconds."""
    client = valkey.client
    client.flushall()
    first = stock_worker(valkey)
    job = held(client, folder / "stock")
    second = stock_worker(valkey)
    horse = int((folder / "stock").joinpath("held").read_text())
    began = time.monotonic()
    for pid in (first.pid, horse):
        os.kill(pid, signal.SIGKILL)
    try:
        return decided(job, began, patience)
    except AssertionError:
        return None
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def term_ours(folder: Path, valkey: ValkeyServer) -> int:
    """Jobs that are lost or stuck after each worker has got SIGTERM again and again while jobs pour in."""
    with host(folder, valkey) as ours:
        serve(ours, WORKERS)
        uid = ours.heartbeat()["pools"][0]["pool_uid"]
        jobs = []
        for n in range(TERM_ROUNDS):
            jobs += pour(valkey.client)
            for worker in ours.heartbeat()["workers"]:
                signal_worker(worker, signal.SIGTERM)
            ours.configure(uid, spec(workers=WORKERS, queues=["mail", "other"], result_ttl=600 + n))
        return unfinished(valkey.client, jobs)


def term_stock(valkey: ValkeyServer) -> int:
    valkey.client.flushall()
    workers = [stock_worker(valkey) for _ in range(WORKERS)]
    jobs = []
    for _ in range(TERM_ROUNDS):
        wait_for(lambda: Worker.count(connection=valkey.client) == WORKERS, timeout=60)
        jobs += pour(valkey.client)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        workers = [stock_worker(valkey) for _ in range(WORKERS)]
    try:
        return unfinished(valkey.client, jobs)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def pour(client: redis.Redis) -> list[Job]:
    queues = [Queue("mail", connection=client), Queue("other", connection=client)]
    return [queues[n % 2].enqueue("tasks.add", n, 1) for n in range(JOBS // TERM_ROUNDS)]


def unfinished(client: redis.Redis, jobs: list[Job]) -> int:
    """Jobs that are neither finished nor waiting once the queues are empty and nothing has changed for five seconds."""
    wait_for(lambda: not any(client.llen(f"rq:queue:{name}") for name in ("mail", "other")), timeout=60)
    settled = [time.monotonic(), -1]

    def still() -> bool:
        count = sum(job.get_status() != "finished" for job in jobs)
        if count != settled[1]:
            settled[:] = [time.monotonic(), count]
        return count == 0 or time.monotonic() - settled[0] > 5

    wait_for(still, timeout=120)
    lost = [job for job in jobs if job.get_status() != "finished"]
    for job in lost:
        print(f"  {job.get_status()}, found in {places(client, job.origin, job.id) or 'no list'}")
    return len(lost)


@contextmanager
def host(folder: Path, valkey: ValkeyServer, name: str = "host-1") -> Iterator[AgentHost]:
    if name == "host-1":
        valkey.client.flushall()
    made = AgentHost(folder, valkey, name=name)
    try:
        yield made
    finally:
        made.close()


def serve(ours: AgentHost, workers: int) -> list[dict[str, object]]:
    uid = new_uid()
    ours.options = ["--label", "zone=a"]
    ours.configure(uid, spec(workers=workers, queues=["mail", "other"], placement={"zone": "a"}))
    ours.start()
    return ours.wait_for_workers(uid, workers, timeout=60)


def stock_worker(valkey: ValkeyServer) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("rq")), "worker", "mail", "other", "--url", valkey.url]
    environ = os.environ | {"PYTHONPATH": str(APPLICATION)}
    null = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=APPLICATION, env=environ, stdout=null, stderr=null)


def held(client: redis.Redis, folder: Path) -> Job:
    """A job that runs for a minute; it has begun."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / "held"
    job = Queue("mail", connection=client).enqueue("tasks.hold", str(marker))
    wait_for(lambda: marker.exists() and marker.read_text().endswith("\n"), timeout=60)
    return job


def decided(job: Job, began: float, patience: float) -> float:
    wait_for(lambda: job.get_status() != "started", timeout=patience, every=0.01)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
