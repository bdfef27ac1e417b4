"""Requeue, discard and restore many dead letters, from freezing the set to the last outcome, beside RQ's own requeue.

    python -m bench.requeue [--jobs 20000]
    python -m tests.support.postgres --durable python -m bench.requeue

On SQLite in a temporary folder, or in the PostgreSQL database that POOLWARDEN_DATABASE_URL names. Ours writes an
outcome for each job and closes its dead letter; RQ has nothing of the kind. ``longest script`` is by the broker's own
clock: for so long it served nobody else. ``CPU`` is this process's: what it says does not depend on who else is busy.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from bench.dead_letters import scanning
from bench.overview import set_up
from bench.seed import seed
from bench.server import running_server

QUEUE = "svc00"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000)
    jobs = parser.parse_args().jobs
    with running_server() as port, tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as home:
        client = redis.Redis(port=port)
        seed(client, 1, 2, jobs)
        set_up(Path(home), port, client)
        from django.db import connection

        print(f"{jobs:,} jobs, {connection.vendor}")
        theirs = stock(client, jobs)
        with scanning() as scan:
            scan()
            ours(client, "requeue", jobs, theirs)
            client.delete(f"rq:queue:{QUEUE}")
            seed(client, 1, 0, jobs)
            scan()
            ours(client, "discard", jobs, theirs)
            ours(client, "restore", jobs, theirs)


def stock(client: redis.Redis, jobs: int) -> float:
    """Jobs a second of ``rq requeue --all``; afterwards they are failed again."""
    from rq.registry import FailedJobRegistry

    registry = FailedJobRegistry(QUEUE, connection=client)
    expiry = client.zrange(registry.key, 0, -1, withscores=True)
    began = time.perf_counter()
    for job_id in registry.get_job_ids(cleanup=False):
        registry.requeue(job_id)
    speed = jobs / (time.perf_counter() - began)
    client.delete(f"rq:queue:{QUEUE}")
    for job_id, score in expiry:  # type: ignore[union-attr]
        client.hset(f"rq:job:{job_id.decode()}", "status", "failed")
        client.zadd(registry.key, {job_id: score})
    print(f"{'rq requeue --all':34}{speed:>12,.0f} jobs/s")
    return speed


def ours(client: redis.Redis, kind: str, jobs: int, theirs: float) -> None:
    from django.contrib.auth.models import User

    from audit.actor import Actor
    from pools.models import DeadLetter
    from pools.operations import Selection, discard_create, requeue_create, restore_create
    from pools.operations.execute import run_operation
    from pools.selectors.dead_letters import DeadLetterFilter

    user = User.objects.filter(username="ada").first() or User.objects.create_superuser("ada")
    actor = Actor(kind="user", id=str(user.pk), name=user.username, user=user)
    verbs = {"requeue": requeue_create, "discard": discard_create, "restore": restore_create}
    create: Callable[..., Any] = verbs[kind]
    source = "discarded" if kind == "restore" else "open"
    began, worked = time.perf_counter(), time.process_time()
    operation = create(actor=actor, selection=Selection(filter=DeadLetterFilter(state=source)), reason="bench")
    frozen = time.perf_counter()
    client.config_resetstat()
    client.config_set("slowlog-log-slower-than", 1000)
    client.slowlog_reset()
    run_operation(operation.pk)
    ended, worked = time.perf_counter(), time.process_time() - worked
    counts = operation.outcome_counts()
    assert list(counts.values()) == [jobs] and kind in next(iter(counts)), counts
    assert not DeadLetter.objects.filter(state=source).exists()
    whole = jobs / (ended - began)
    print(f"{kind + ', whole':34}{whole:>12,.0f} jobs/s, {whole / theirs:.1f} times rq's requeue")
    print(f"{'  freezing':34}{jobs / (frozen - began):>12,.0f} jobs/s")
    print(f"{'  moving, with outcomes':34}{jobs / (ended - frozen):>12,.0f} jobs/s")
    print(f"{'  CPU a job':34}{worked / jobs * 1_000_000:>12.1f} µs")
    calls = client.info("commandstats")
    script = calls.get("cmdstat_evalsha", calls.get("cmdstat_fcall", {}))
    print(f"{'  a script call, mean':34}{script['usec_per_call'] / 1000:>12.2f} ms")
    slowest = max((entry["duration"] for entry in client.slowlog_get(128)), default=0)
    print(f"{'  longest script':34}{slowest / 1000:>12.2f} ms")


if __name__ == "__main__":
    main()
