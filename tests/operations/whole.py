"""``python -m tests.operations.whole [JOBS KILLS]``: operations while every process that takes part is killed.

As in production: a controller, a console worker and a Valkey with an append-only file, each a process of its own, over
the database of POOLWARDEN_DATABASE_URL or a SQLite file in POOLWARDEN_HOME (both to be this run's own). JOBS dead
letters are requeued, as many discarded and those restored. Meanwhile one after the other, at random, is killed with
-9 and started again: KILLS times, or until the operation is done. Afterwards each job is in one place, the numbers
add up to the frozen count, each event is there once, and the read model says what the broker says. Prints a line for
each operation; ends with an AssertionError when anything does not hold.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import django
import redis
from django.core.management import call_command
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.broker.records import write_failed
from tests.operations.crash_run import contents, places
from tests.support.installation import descendants
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_for

COMMANDS = {"controller": ("controller",), "console worker": ("rqworker", "console", "--worker-ttl", "30")}
VICTIMS = (*COMMANDS, "horse", "broker")
EVENTS = {
    "requeue": ["operation.requeue_started", "operation.requeue_ended"],
    "discard": ["operation.discard_started", "operation.discard_ended"],
    "restore": ["operation.restore_started", "operation.restore_ended"],
}
ENDS = {"requeue": ("once", "requeued"), "discard": ("shelved", "discarded"), "restore": ("once", "restored")}
SETTLED = 300.0  # seconds until all is done once nobody is killed any more


class Cluster:
    """The processes, and who was killed how often."""

    def __init__(self, folder: Path) -> None:
        self.valkey = ValkeyServer(folder / "valkey", free_port())
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: Counter[str] = Counter()
        self.log = (folder / "processes.log").open("ab")

    def start(self, name: str) -> None:
        command = [sys.executable, "manage.py", *COMMANDS[name]]
        self.running[name] = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def kill(self, victim: str) -> None:
        """And start it again. The horse is the console worker's child that runs the job, if there is one."""
        if victim == "broker":
            self.valkey.kill()
            self.valkey.start()
        elif victim == "horse":
            for pid in descendants(self.running["console worker"].pid):
                with suppress(ProcessLookupError):  # it may have ended meanwhile
                    os.kill(pid, signal.SIGKILL)
        else:
            self.end(victim)
            self.start(victim)
        self.killed[victim] += 1

    def revive(self) -> None:
        """A console worker ends with its broker; in production its supervisor starts it again."""
        for name, process in self.running.items():
            if process.poll() is not None:
                self.start(name)

    def end(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait(timeout=30)


def chaos(cluster: Cluster, row: Any, jobs: int, kills: int, dice: random.Random) -> None:
    """Kill somebody each time that some more jobs are done, or when a while has passed."""

    def done() -> int:
        return int(row.items.exclude(outcome="pending").count())

    for _ in range(kills):
        goal, until = done() + dice.randint(1, max(2 * jobs // kills, 1)), time.monotonic() + dice.uniform(0.2, 2)
        while done() < goal and time.monotonic() < until:
            time.sleep(0.005)
        row.refresh_from_db()
        if row.state == "ended":
            break
        cluster.kill(dice.choice(VICTIMS))
        cluster.revive()

    def ended() -> bool:
        cluster.revive()
        row.refresh_from_db()
        return bool(row.state == "ended")

    wait_for(ended, timeout=SETTLED, every=0.2, message=f"{row.kind} ends by itself")


def check(row: Any, ids: list[str], queue: str, broker: redis.Redis) -> None:
    from audit.models import Event
    from pools.models import DeadLetter, DeadLetterState

    place, outcome = ENDS[row.kind]
    assert places(ids, queue, broker) == {place: len(ids)}
    assert (row.frozen_count, row.outcome_counts()) == (len(ids), {outcome: len(ids)})
    told = Event.objects.filter(target_id=str(row.pk)).order_by("pk").values_list("action", flat=True)
    assert list(told) == EVENTS[row.kind]

    def as_the_broker_says() -> bool:
        registry = {job.decode() for job in broker.zrange(f"rq:failed:{queue}", 0, -1)}
        letters = DeadLetter.objects.filter(queue=queue, state=DeadLetterState.OPEN)
        return set(letters.values_list("job_id", flat=True)) == registry

    wait_for(as_the_broker_says, timeout=SETTLED, every=0.5, message="the read model says what the broker says")


def dead(broker: redis.Redis, name: str, jobs: int) -> list[str]:
    """Jobs that fail, and that the controller has seen."""
    from pools.models import DeadLetter

    ids = [f"{name}-{n}" for n in range(jobs)]
    write_failed(broker, *ids, queue=name)
    letters = DeadLetter.objects.filter(queue=name, state="open")
    wait_for(lambda: letters.count() == jobs, timeout=SETTLED, every=0.5, message=f"{jobs} dead letters of {name}")
    return ids


def main(jobs: int = 20_000, kills: int = 100) -> None:
    folder = Path(os.environ.setdefault("POOLWARDEN_HOME", tempfile.mkdtemp(prefix="poolwarden-whole-")))
    cluster = Cluster(folder)
    os.environ |= {"POOLWARDEN_REDIS_URL": cluster.valkey.url, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    os.environ.setdefault("POOLWARDEN_LOG_LEVEL", "ERROR")
    cluster.valkey.start()
    django.setup()
    call_command("migrate", verbosity=0)
    for name in COMMANDS:
        cluster.start(name)
    try:
        play(cluster, jobs, kills)
    finally:
        for name in cluster.running:
            cluster.end(name)
        cluster.valkey.kill()


def play(cluster: Cluster, jobs: int, kills: int) -> None:
    from django.contrib.auth.models import User

    from pools.operations import Plan, Selection, discard_create, operation_undo, requeue_create
    from pools.selectors.dead_letters import DeadLetterFilter
    from tests.support.cast import actor

    dice, who = random.Random(f"{jobs} {kills}"), actor(User.objects.create_superuser("ada"))
    # Whoever looks at what was done must see it, also when the broker has just been killed.
    patience = Retry(ConstantBackoff(0.1), 300, supported_errors=(redis.ConnectionError, redis.BusyLoadingError))
    broker = redis.Redis.from_url(cluster.valkey.url, retry=patience)

    def run(row: Any, ids: list[str], queue: str) -> None:
        began, cluster.killed = time.monotonic(), Counter()
        chaos(cluster, row, jobs, kills, dice)
        check(row, ids, queue, broker)
        who = ", ".join(f"{victim} {count}" for victim, count in sorted(cluster.killed.items()))
        print(f"{row.kind} of {jobs:,}: killed {who}; {time.monotonic() - began:.0f} s: all there, once", flush=True)

    about: dict[str, Any] = {"actor": who, "reason": "chaos"}
    ids = dead(broker, "again", jobs)
    plan = Plan(rate_per_second=max(jobs // 50, 1))  # 50 seconds, if nobody were killed
    run(requeue_create(selection=Selection(filter=DeadLetterFilter(queue="again")), plan=plan, **about), ids, "again")
    ids = dead(broker, "away", jobs)
    before = contents(ids, broker)
    row = discard_create(selection=Selection(filter=DeadLetterFilter(queue="away")), **about)
    run(row, ids, "away")
    run(operation_undo(operation=row, **about), ids, "away")
    assert contents(ids, broker) == before, "restored byte for byte"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
