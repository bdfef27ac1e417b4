"""What an event costs its action: 16 writers, some of them slow, on PostgreSQL.

    python -m tests.support.postgres --durable .venv/bin/python -m bench.audit_writers [--seconds 8] [--rounds 3]

Two actions: *pause*, the operation that the page calls (a check, a lock, a command, an outbox row), and
*update*, a single UPDATE, which is as little as an action can be. Each in three ways, turn by turn in one run:

- *without*: the action alone;
- *event*: with its event, while the sequencer integrates what was recorded;
- *chain*: with a row that holds the hash of the row before it, one at a time under a lock.

5 % of the transactions stay open for 50 ms more.
"""

import argparse
import hashlib
import itertools
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import django

WRITERS = 16
SLOW, HELD = 0.05, 0.05
WAYS = ("without", "event", "chain")
ACTIONS = ("pause", "update")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not os.environ.get("POOLWARDEN_DATABASE_URL", "").startswith("postgres"):
        parser.error("POOLWARDEN_DATABASE_URL must name a PostgreSQL database that may be filled")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    os.environ |= {"POOLWARDEN_LOG_LEVEL": "ERROR", "POOLWARDEN_ENV": "bench"}
    django.setup()
    prepare()
    print(f"{WRITERS} writers, {SLOW:.0%} of them hold {HELD * 1000:.0f} ms: median of {options.rounds} rounds")
    for action in ACTIONS:
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            for way in WAYS:
                rates[way].append(rate(action, way, options.seconds))
        middle = {way: median(found) for way, found in rates.items()}
        print(f"{action}: " + ", ".join(f"{way} {middle[way]:,.0f}/s" for way in WAYS))
        print(f"  event / without {middle['event'] / middle['without']:.2f} (aim 0.7)")
        print(f"  event / chain   {middle['event'] / middle['chain']:.1f} (aim 5)", flush=True)


def prepare() -> None:
    from django.core.management import call_command
    from django.db import connection, connections

    from pools.models import Team
    from pools.operations import pool_create
    from pools.spec import parse_spec
    from tests.support.factories import SPEC

    call_command("migrate", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_chain (id bigserial PRIMARY KEY, leaf bytea NOT NULL, hash bytea NOT NULL)")
        cursor.execute("CREATE TABLE bench_row (id int PRIMARY KEY, n int NOT NULL)")
        cursor.execute("INSERT INTO bench_row SELECT g, 0 FROM generate_series(0, %s) g", [WRITERS])
    team = Team.objects.create(slug="bench", name="Bench")
    for number in range(WRITERS):
        spec = parse_spec(SPEC | {"queues": [f"bench-{number}"]})
        pool_create(
            actor=_actor(), slug=f"bench-{number}", name="Bench", environment="bench", team=team, spec=spec, message="B"
        )
    connections.close_all()


def rate(action: str, way: str, seconds: float) -> float:
    """Actions a second of all writers together."""
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    start = time.monotonic() + 1.5
    stop = start + seconds
    processes = [context.Process(target=write, args=(action, way, n, start, stop, results)) for n in range(WRITERS)]
    if way == "event":
        processes.append(context.Process(target=sequence, args=(stop,)))
    for process in processes:
        process.start()
    total = sum(results.get(timeout=seconds + 60) for _ in range(WRITERS))
    for process in processes:
        process.join()
    return total / seconds


def write(action: str, way: str, number: int, start: float, stop: float, results: Any) -> None:
    from django.db import connection, transaction

    act = {"pause": pausing, "update": updating}[action](way, number)
    chance = random.Random(number)
    time.sleep(max(0.0, start - time.monotonic()))
    done = 0
    while time.monotonic() < stop:
        with transaction.atomic():
            act()
            if chance.random() < SLOW:
                time.sleep(HELD)
        done += 1
    results.put(done)
    connection.close()


def recorder(way: str) -> Callable[..., object]:
    from audit.recorder import record

    ways: dict[str, Callable[..., object]] = {"without": lambda **_: None, "event": record, "chain": chained}
    return ways[way]


def pausing(way: str, number: int) -> Callable[[], object]:
    """Pause and resume the writer's own pool in turn."""
    from pools.models import Pool
    from pools.operations import pool_pause, pool_resume, pools

    pools.record = recorder(way)  # type: ignore[assignment]
    pool = Pool.objects.get(slug=f"bench-{number}")
    verbs = itertools.cycle([pool_pause, pool_resume] if pool.run_state == "running" else [pool_resume, pool_pause])
    return lambda: next(verbs)(actor=_actor(), pool=pool, reason="benchmark")


def updating(way: str, number: int) -> Callable[[], object]:
    from django.db import connection

    from audit.target import Target

    record, target = recorder(way), Target(kind="pool", id=str(number), name="bench", pool="bench")

    def update() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE bench_row SET n = n + 1 WHERE id = %s", [number])
        record(
            actor=_actor(),
            action="pool.paused",
            target=target,
            before={"state": "running"},
            after={"state": "paused"},
            reason="benchmark",
        )

    return update


def sequence(stop: float) -> None:
    """As the controller runs it."""
    from django.db import connection

    from pools.controller.log_sequencer import LogSequencer

    loop = LogSequencer()
    while time.monotonic() < stop:
        if not loop.tick():
            time.sleep(loop.interval)
    connection.close()


def chained(**fields: Any) -> None:
    """Row-hash chain: the lock is held until the transaction ends, or two rows would follow the same one."""
    from django.db import connection

    leaf = repr(sorted(fields.items())).encode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7)")
        cursor.execute("SELECT hash FROM bench_chain ORDER BY id DESC LIMIT 1")
        before = cursor.fetchone()
        digest = hashlib.sha256(bytes(before[0] if before else b"") + leaf).digest()
        cursor.execute("INSERT INTO bench_chain (leaf, hash) VALUES (%s, %s)", [leaf, digest])


def _actor() -> Any:
    from audit.actor import Actor

    return Actor(
        kind="system", id="bench", name="bench", request_id="0123456789abcdef", address="10.0.0.1", session="5c1e"
    )


if __name__ == "__main__":
    main()
