"""What idle workers cost the broker: 1,000 of them on 20 hosts, each with its own connection.

    python -m bench.idle [--workers 1000] [--hosts 20] [--seconds 20]

One process plays the workers: it asks for a job (and sends the heartbeat) as often and with the same scripts and
commands as each of them would. The hosts' ringers are the real ones. The cost is what Redis says it used of a core.
"""

import argparse
import heapq
import itertools
import random
import tempfile
import time
from pathlib import Path

import redis
from rq import Queue

from bench.server import running_server
from pools.runtime.claims import Claims
from pools.runtime.keys import Keys
from pools.runtime.ringer import Listening, Ringer
from pools.runtime.worker import HEARTBEAT_SECONDS, LONGEST_WAIT

FIELDS = (
    "last_heartbeat",
    "state",
    "queues",
    "current_job",
    "successful_job_count",
    "failed_job_count",
    "birth",
    "pid",
)
POLL_SECONDS = 0.2  # how often idle workers asked before they were woken
AIM = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    with running_server() as port, tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as home:
        client = redis.Redis(port=port)
        idle = used(client, given.seconds / 4)
        workers = [redis.Redis(port=port, single_connection_client=True) for _ in range(given.workers)]
        polled = used(client, given.seconds, workers, POLL_SECONDS)
        ringers = [listening(port, Path(home) / str(n), given.workers // given.hosts) for n in range(given.hosts)]
        woken = used(client, given.seconds, workers, LONGEST_WAIT)
        for ringer in ringers:
            ringer.close()
    print(f"{given.workers} idle workers on {given.hosts} hosts, Redis' use of a core (aim: at most {AIM:g} %)")
    print(f"{'none at all':32}{idle:>8.1f} %")
    print(f"{'asking each ' + str(POLL_SECONDS) + ' s':32}{polled:>8.1f} %")
    print(f"{'woken, asking each ' + str(LONGEST_WAIT) + ' s':32}{woken:>8.1f} %   {woken / AIM:.2f} of the aim")


def listening(port: int, bell: Path, workers: int) -> Ringer:
    ringer = Ringer(f"redis://localhost:{port}", Keys())
    ringer.listening = [Listening(bell, ["mail"], workers)]
    ringer.start()
    return ringer


def used(client: redis.Redis, seconds: float, workers: list[redis.Redis] | None = None, every: float = 0.0) -> float:
    """Percent of a core that Redis used while these workers waited."""
    due = [(random.uniform(0, every), n) for n in range(len(workers or []))]
    heapq.heapify(due)
    began, before = time.monotonic(), processor(client)
    beats = itertools.cycle(range(max(1, round(HEARTBEAT_SECONDS / every)))) if workers else iter(())
    while (now := time.monotonic() - began) < seconds:
        if not workers or due[0][0] > now:
            time.sleep(min(0.001, seconds - now))
            continue
        at, n = heapq.heappop(due)
        ask(workers[n], n, heartbeat=next(beats) == 0)
        heapq.heappush(due, (at + every * random.uniform(0.75, 1), n))
    return (processor(client) - before) / (time.monotonic() - began) * 100


def ask(client: redis.Redis, n: int, *, heartbeat: bool) -> None:
    Claims(Keys(), f"worker-{n}").take(client, [Queue("mail", connection=client)])
    if heartbeat:
        with client.pipeline() as pipeline:
            pipeline.hset(f"rq:worker:worker-{n}", mapping=dict.fromkeys(FIELDS, "a value of some length"))
            pipeline.expire(f"rq:worker:worker-{n}", 120)
            for key in ("rq:workers", "rq:workers:mail"):
                pipeline.sadd(key, f"rq:worker:worker-{n}")
            pipeline.execute()


def processor(client: redis.Redis) -> float:
    said = client.info("cpu")
    return float(said["used_cpu_user"] + said["used_cpu_sys"])  # type: ignore[index]


if __name__ == "__main__":
    main()
