"""``python -m tests.operations.crash_run JOBS KILLS SEED KIND:RUNNERS …``: kill -9 operations, over and over.

On a database and a broker of its own (both from the environment) each ``KIND:RUNNERS`` freezes an operation over JOBS
dead letters. Then, KILLS times, RUNNERS processes carry it out at once and are killed together, at random moments. At
last the relay's part enqueues it and ``manage.py rqworker console --burst`` finishes it, as in production. Prints a
JSON list: where the jobs were after each kill and in the end, what the operation and the dead letters say, and how many
were still dead after each round.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import django
import redis
from django.core.management import call_command
from django.db import connection


def start(pk: int) -> int:
    """A process that carries the operation out."""
    connection.close()
    pid = os.fork()
    if not pid:
        from pools.operations.execute import run_operation

        try:
            run_operation(pk)
        finally:
            os._exit(0)
    return pid


def play(pk: int, registry: str, runners: int, dice: random.Random, broker: redis.Redis) -> int:
    """One round; returns how many jobs are still in the failed registry."""
    left = broker.zcard(registry)
    goal = left - dice.randint(1, min(left, 250))
    pids = [start(pk) for _ in range(runners)]
    deadline = time.monotonic() + 30
    while broker.zcard(registry) > goal and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(dice.random() * 0.02)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return broker.zcard(registry)


def places(ids: list[str], queue: str, broker: redis.Redis) -> dict[str, int]:
    """How many jobs are where; ``nowhere`` and ``twice or dangling`` must never appear."""
    where = Counter(job_id.decode() for job_id in broker.lrange(f"rq:queue:{queue}", 0, -1))
    where.update(job_id.decode() for job_id in broker.zrange(f"rq:failed:{queue}", 0, -1))
    pipeline = broker.pipeline(transaction=False)
    for job_id in ids:
        pipeline.exists(f"rq:job:{job_id}")
    records = dict(zip(ids, pipeline.execute(), strict=True))
    names = {(0, 0): "deleted", (1, 1): "once", (0, 1): "nowhere"}
    return dict(Counter(names.get((where[job_id], records[job_id]), "twice or dangling") for job_id in ids))


def finish(pk: int) -> None:
    """As in production: the relay's message becomes a job of django-rq's queue, and its worker runs it."""
    from pools.controller.console_jobs import enqueue_operation
    from pools.models import OutboxMessage

    enqueue_operation(OutboxMessage.objects.get(kind="operation", key=str(pk)))
    command = [sys.executable, "manage.py", "rqworker", "console", "--burst"]
    subprocess.run(command, check=True, stdout=sys.stderr, timeout=120)


def scenario(cast: Any, kind: str, runners: int, jobs: int, kills: int, broker: redis.Redis) -> dict[str, Any]:
    from audit.models import Event
    from pools.models import DeadLetter
    from pools.operations import Selection, discard_create, requeue_create
    from pools.selectors.dead_letters import DeadLetterFilter
    from tests.broker.records import write_failed
    from tests.dead_letters.letters import failed
    from tests.support import factories as make
    from tests.support.cast import actor

    name = f"{kind}-{runners}"
    ids = [f"{name}-{n}" for n in range(jobs)]
    write_failed(broker, *ids, queue=name)
    group = failed(make.pool(cast.payments, name), *ids)
    create = {"requeue": requeue_create, "discard": discard_create}[kind]
    row = create(actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter(pool=name)), reason="crash test")

    dice, left, seen = random.Random(f"{sys.argv[3]} {name}"), [jobs], []
    while left[-1] and len(left) <= kills:
        left.append(play(row.pk, f"rq:failed:{name}", runners, dice, broker))
        seen.append(places(ids, name, broker))
    finish(row.pk)
    row.refresh_from_db()
    group.refresh_from_db()
    return {
        "left": left,
        "seen": seen,
        "places": places(ids, name, broker),
        "state": row.state,
        "outcomes": row.outcome_counts(),
        "letters": dict(Counter(DeadLetter.objects.filter(group=group).values_list("state", flat=True))),
        "open": group.open_count,
        "ends": Event.objects.filter(action=f"operation.{kind}_ended", target_id=str(row.pk)).count(),
        "receipts": [broker.ttl(key) for key in broker.keys("pw:moved:*")],
    }


def main() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    from tests.support.cast import make_cast

    broker = redis.Redis.from_url(os.environ["POOLWARDEN_REDIS_URL"])
    cast = make_cast()
    results = []
    for argument in sys.argv[4:]:
        kind, runners = argument.split(":")
        results.append(scenario(cast, kind, int(runners), int(sys.argv[1]), int(sys.argv[2]), broker))
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
