"""``python -m tests.operations.crash_run JOBS KILLS SEED KIND:RUNNERS …``: kill -9 operations, over and over.

On a database and a broker of its own (both from the environment) each ``KIND:RUNNERS`` freezes an operation over JOBS
dead letters; a ``canary`` waits for a tenth of them, a ``rate`` allows half of them a second, a ``recall`` begins when
all are queued, a ``restore`` when all were discarded; a ``pause``, and its end, or a ``cancel`` halfway. Then,
KILLS times, RUNNERS processes carry it out at once and are killed together, at random moments. At last the relay's part
enqueues it and ``manage.py rqworker console --burst`` finishes it, as in production. Prints a JSON list: where the jobs
were after each kill and in the end, what the operation and the dead letters say, how many were still where they began
after each round, how many were sent in the busiest second, and whether each job is byte for byte what it was.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import django
import redis
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from redis.backoff import ConstantBackoff
from redis.retry import Retry


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


def play(pk: int, still: Callable[[], int], runners: int, most: int, dice: random.Random) -> int:
    """One round, in which about ``most`` jobs move; ``still`` and the answer: how many are still where they were."""
    goal = still() - dice.randint(1, min(still(), most))
    pids = [start(pk) for _ in range(runners)]
    deadline = time.monotonic() + 30
    while still() > goal and any(map(runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(dice.random() * 0.01)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    return still()


def runs(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def canary_ends(queue: str, broker: redis.Redis) -> None:
    """What is queued runs and succeeds, once all of the canary is; the controller sees it."""
    from pools.controller.effects import Effects
    from pools.controller.lease import LeaderLease
    from pools.models import Operation

    row = Operation.objects.latest("pk")
    if row.canary_sent_at and not row.canary_over_at:
        for job_id in broker.lrange(f"rq:queue:{queue}", 0, -1):
            broker.hset(b"rq:job:" + job_id, "status", "finished")
        lease = LeaderLease()
        lease.renew()
        Effects(lease).tick()
        lease.release()


def places(ids: list[str], queue: str, broker: redis.Redis) -> dict[str, int]:
    """How many jobs are where; ``deleted``, ``nowhere`` and ``twice or dangling`` must never appear."""
    where = Counter(job_id.decode() for job_id in broker.lrange(f"rq:queue:{queue}", 0, -1))
    where.update(job_id.decode() for job_id in broker.zrange(f"rq:failed:{queue}", 0, -1))
    pipeline = broker.pipeline(transaction=False)
    for job_id in ids:
        pipeline.exists(f"rq:job:{job_id}", f"rq:results:{job_id}")
        pipeline.exists(*(f"pw:shelf:{part}:{job_id}" for part in ("slip", "job", "results")))
    found = pipeline.execute()
    names = {(0, 0, 0): "deleted", (1, 2, 0): "once", (0, 2, 0): "nowhere", (0, 0, 3): "shelved"}
    states = zip((where[job_id] for job_id in ids), found[::2], found[1::2], strict=True)
    return dict(Counter(names.get(state, "twice or dangling") for state in states))


def contents(ids: list[str], broker: redis.Redis) -> list[bytes | None]:
    """The bytes of each job."""
    pipeline = broker.pipeline(transaction=False)
    for job_id in ids:
        pipeline.dump(f"rq:job:{job_id}")
        pipeline.dump(f"rq:results:{job_id}")
    found: list[bytes | None] = pipeline.execute()
    return found


def patiently(work: Callable[[], object]) -> None:
    """Again until the broker is there, which may be killed at any moment."""
    from pools.broker.connection import BrokerUnavailable

    deadline = time.monotonic() + 60
    while True:
        try:
            work()
            return
        except (BrokerUnavailable, redis.RedisError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def finish(pk: int) -> None:
    """As in production: each message of the relay becomes a job of django-rq's queue, and its worker runs it."""
    from pools.controller.console_jobs import enqueue_operation
    from pools.controller.lease import LeaderLease
    from pools.controller.sweeper import Waker
    from pools.models import Operation, OutboxMessage

    while messages := list(OutboxMessage.objects.filter(kind="operation", key=str(pk), published_at=None)):
        for message in messages:
            patiently(partial(enqueue_operation, message))
            message.delete()
        command = [sys.executable, "manage.py", "rqworker", "console", "--burst"]
        if subprocess.run(command, stdout=sys.stderr, timeout=120, check=False).returncode:
            # It died with the broker, perhaps with the job in its hands: the controller's resumer sends another one.
            OutboxMessage.objects.create(kind="operation", key=str(pk))
        lease = LeaderLease()
        lease.renew()
        Waker(lease).tick()
        lease.release()
    assert not Operation.objects.filter(pk=pk, wake_at__isnull=False).exists()


def paused_and_resumed(actor: Any, row: Any) -> None:
    """While it is paused, the controller sends on what a dead process left: each item that was sent has its outcome."""
    from pools.controller.lease import LeaderLease
    from pools.controller.sweeper import STUCK_AFTER, Resumer
    from pools.models import Operation, OutboxMessage
    from pools.operations import operation_pause, operation_resume

    operation_pause(actor=actor, operation=row, reason="crash test")
    OutboxMessage.objects.filter(kind="operation", key=str(row.pk)).delete()
    Operation.objects.filter(pk=row.pk).update(progressed_at=F("progressed_at") - 2 * STUCK_AFTER)
    lease = LeaderLease()
    lease.renew()
    Resumer(lease).tick()
    lease.release()
    finish(row.pk)
    assert not row.items.filter(outcome="pending", at__isnull=False).exists()
    operation_resume(actor=actor, operation=row, reason="crash test")


def plan_of(kind: str, jobs: int) -> Any:
    from pools.operations import Canary, Plan

    canary = Canary(count=jobs // 10, min_success=100) if kind == "canary" else None
    rates = {"rate": jobs // 2, "pause": jobs // 5, "cancel": jobs // 20}  # so that half the kills are not yet all jobs
    return Plan(canary=canary, rate_per_second=rates.get(kind))


def busiest_second(pk: int) -> int:
    """The most jobs that were sent within a second."""
    from pools.models import OperationItem

    stamps = list(OperationItem.objects.filter(operation=pk).order_by("at").values_list("at", flat=True))
    last, most = 0, 0
    for first, begin in enumerate(stamps):
        while last < len(stamps) and stamps[last] - begin < timedelta(seconds=1):
            last += 1
        most = max(most, last - first)
    return most


def scenario(cast: Any, kind: str, runners: int, jobs: int, kills: int, broker: redis.Redis) -> dict[str, Any]:
    from audit.models import Event
    from pools.models import DeadLetter, Operation
    from pools.operations import (
        Selection,
        discard_create,
        operation_cancel,
        operation_recall,
        operation_undo,
        requeue_create,
    )
    from pools.operations.execute import run_operation
    from pools.selectors.dead_letters import DeadLetterFilter
    from tests.broker.records import write_failed
    from tests.dead_letters.letters import failed
    from tests.support import factories as make
    from tests.support.cast import actor

    name = f"{kind}-{runners}"
    ids = [f"{name}-{n}" for n in range(jobs)]
    write_failed(broker, *ids, queue=name)
    group = failed(make.pool(cast.payments, name), *ids)
    before = contents(ids, broker)
    create = discard_create if kind in ("discard", "restore") else requeue_create
    chosen = Selection(filter=DeadLetterFilter(pool=name))
    row = create(actor=actor(cast.bob), selection=chosen, reason="crash test", plan=plan_of(kind, jobs))
    if kind == "recall":
        patiently(partial(run_operation, row.pk))
        operation_recall(actor=actor(cast.bob), operation=row, reason="crash test")

    if kind == "restore":
        patiently(partial(run_operation, row.pk))
        row = operation_undo(actor=actor(cast.bob), operation=Operation.objects.get(pk=row.pk), reason="crash test")

    def still() -> int:
        if kind == "recall":
            return broker.llen(f"rq:queue:{name}")
        dead = broker.zcard(f"rq:failed:{name}")
        return jobs - dead if kind == "restore" else dead

    dice, left, seen = random.Random(f"{sys.argv[3]} {name}"), [jobs], []
    halted = kind not in ("pause", "cancel")
    while left[-1] and len(left) <= kills:
        if not halted and len(left) > kills // 2:
            halted = True
            if kind == "cancel":
                operation_cancel(actor=actor(cast.bob), operation=row, reason="crash test")
                break
            paused_and_resumed(actor(cast.bob), row)
            left.append(still())
            continue
        left.append(play(row.pk, still, runners, max(jobs // kills // 2, 1), dice))
        seen.append(places(ids, name, broker))
        canary_ends(name, broker)
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
        "queued": broker.llen(f"rq:queue:{name}"),
        "told": list(Event.objects.filter(target_id=str(row.pk)).order_by("pk").values_list("action", flat=True)),
        "busiest": busiest_second(row.pk),
        "same": contents(ids, broker) == before,
        "receipts": [broker.ttl(key) for key in broker.keys("pw:moved:*")],
    }


def main() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    from tests.support.cast import make_cast

    # Whoever looks at what was done must see it, also while the broker itself is killed.
    patience = Retry(ConstantBackoff(0.1), 300, supported_errors=(redis.ConnectionError, redis.BusyLoadingError))
    broker = redis.Redis.from_url(os.environ["POOLWARDEN_REDIS_URL"], retry=patience)
    cast = make_cast()
    results = []
    for argument in sys.argv[4:]:
        kind, runners = argument.split(":")
        results.append(scenario(cast, kind, int(runners), int(sys.argv[1]), int(sys.argv[2]), broker))
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
