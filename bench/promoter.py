"""Scheduled jobs moved to their queue, beside rq's own scheduler, and what idle agents cost the broker.

    python -m bench.promoter [--jobs 20000]

The aim: 20,000 jobs a second, no script call of 10 ms or more by the broker's own clock.
"""

import argparse
import threading
import time
from collections.abc import Callable

import redis
from rq import Queue
from rq.scheduler import RQScheduler

from bench.server import running_server
from pools.runtime.keys import Keys
from pools.runtime.promoter import Promoter

SPEED_AIM, CALL_AIM_MS = 20_000, 10.0
AGENTS, QUEUES = 50, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    jobs = parser.parse_args().jobs
    with running_server() as port:
        client = redis.Redis(port=port)
        client.config_set("slowlog-log-slower-than", 100)
        client.config_set("slowlog-max-len", 5000)
        print(f"{jobs:,} scheduled jobs that are due")
        theirs, _ = measured(client, jobs, lambda: stock(port))
        print(f"{"rq's scheduler":34}{theirs:>10,.0f} jobs/s")
        for agents in (1, 4, AGENTS):
            named = [f"agent-{number}" for number in range(agents)]
            report(f"agents: {agents}", theirs, *measured(client, jobs, lambda n=named: drain(port, n, jobs)), client)  # type: ignore[misc]
        alike = ["one name for all"] * AGENTS  # each believes that the backlog is its own
        report(
            f"agents: {AGENTS}, all at once", theirs, *measured(client, jobs, lambda: drain(port, alike, jobs)), client
        )
        idle(client, port)


def measured(client: redis.Redis, jobs: int, action: Callable[[], float]) -> tuple[float, float]:
    """Jobs a second, and what the action returned."""
    seed(client, jobs)
    client.config_resetstat()
    client.slowlog_reset()
    began = time.perf_counter()
    waited = action()
    taken = time.perf_counter() - began
    assert client.llen("rq:queue:mail") == jobs, "each job once"
    return jobs / taken, waited


def seed(client: redis.Redis, jobs: int) -> None:
    client.flushall()
    queue = Queue("mail", connection=client)
    job = queue.enqueue("tasks.add", 1, 2)
    fields = client.hgetall(job.key) | {b"status": b"scheduled"}
    client.delete(job.key, queue.key)
    for start in range(0, jobs, 1000):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(start, min(start + 1000, jobs)):
                pipeline.hset(f"rq:job:{number}", mapping=fields)
                pipeline.zadd("rq:scheduled:mail", {str(number): 1})
            pipeline.execute()


def stock(port: int) -> float:
    client = redis.Redis(port=port)
    scheduler = RQScheduler(["mail"], connection=client)
    scheduler.acquire_locks()
    while client.zcard("rq:scheduled:mail"):
        scheduler.enqueue_scheduled_jobs()
    return 0.0


def drain(port: int, names: list[str], jobs: int) -> float:
    """As agents do it. Returns the longest that another client waited for an answer meanwhile, in ms."""
    over = threading.Event()

    def agent(name: str) -> None:
        client, promoter = redis.Redis(port=port), Promoter(Keys(), name)
        while not over.is_set():
            if not promoter.tick(client, ["mail"]):
                over.wait(1)

    threads = [threading.Thread(target=agent, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    other, waits, moved = redis.Redis(port=port), [], 0
    while moved < jobs:
        asked = time.perf_counter()
        moved = int(other.llen("rq:queue:mail"))
        waits.append(time.perf_counter() - asked)
        time.sleep(0.002)
    over.set()
    for thread in threads:
        thread.join()
    return sorted(waits)[int(len(waits) * 0.99)] * 1000


def report(what: str, theirs: float, rate: float, waited: float, client: redis.Redis) -> None:
    scripts = [entry["duration"] for entry in client.slowlog_get(5000) if entry["command"].startswith(b"EVAL")]
    calls = client.info("commandstats")["cmdstat_evalsha"]
    print(f"{what:34}{rate:>10,.0f} jobs/s, {rate / theirs:.1f} times theirs (aim {SPEED_AIM:,})")
    print(f"{'  script calls':34}{calls['calls']:>10,}, mean {calls['usec_per_call'] / 1000:.2f} ms,", end="")
    print(f" longest {max(scripts, default=0) / 1000:.1f} ms (aim {CALL_AIM_MS:g})")
    print(f"{'  another client waits, p99':34}{waited:>10.1f} ms")


def idle(client: redis.Redis, port: int) -> None:
    """A second of ``AGENTS`` agents that each look at ``QUEUES`` queues in which nothing is due."""
    client.flushall()
    queues = [f"queue-{number}" for number in range(QUEUES)]
    for queue in queues:
        client.zadd(f"rq:scheduled:{queue}", {"later": 4e9})
    client.config_resetstat()
    own = redis.Redis(port=port)
    for number in range(AGENTS):
        Promoter(Keys(), f"agent-{number}").tick(own, queues)
    used = sum(
        row["usec"] for name, row in client.info("commandstats").items() if name in ("cmdstat_zrange", "cmdstat_time")
    )
    print(f"{AGENTS} idle agents with {QUEUES} queues: {used / 10_000:.2f} % of a core of the broker")


if __name__ == "__main__":
    main()
