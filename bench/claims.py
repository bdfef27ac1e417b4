"""What a claim costs the broker: the plain script beside one that weighs, in one run.

    python -m bench.claims [--claims 4000]

One worker claims and lets go; the time is the broker's own for the claim script (commandstats), so neither the client
nor the network is in it. ``empty``: nothing waits, which is what idle workers ask. ``waiting``: every queue holds jobs.
``behind 99``: the first job that may begin stands behind 99 that a breaker holds back. ``held``: it holds back all that
waits. The last column is what 1,000 workers that ask five times a second each would use of a core of the broker.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import redis
from rq import Queue
from rq.worker import Worker

from bench.server import running_server
from pools.runtime.claims import Claims
from pools.runtime.keys import Keys
from pools.runtime.rules import PLAIN, Breaker, Limit, Rules

TASK, HELD = "bench.task.nothing", "bench.task.held"
IDLE_WORKERS, ASK_A_SECOND = 1000, 5
BREAKER = Breaker("smtp", ["bench.task.*"], failures=1000, window=60, open_for=3600, probes=1, errors=[])
SHUT = Breaker("shut", [HELD], failures=1, window=60, open_for=3600, probes=1, errors=[])
LIMIT = Limit("api", ["*.nothing"], per_second=10_000, burst=10_000, concurrency=100, by="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", type=int, default=4000)
    claims = parser.parse_args().claims
    with running_server() as port:
        client = redis.Redis(port=port)
        print(f"{'':44}{'µs a claim':>12}{'of plain':>10}{'1,000 idle':>12}")
        for queues in (1, 3, 10):
            compared(client, [f"queue-{n}" for n in range(queues)], claims)


def compared(client: Any, queues: Sequence[str], claims: int) -> None:
    weights = {queue: n + 1 for n, queue in enumerate(queues)}
    kinds = {
        "plain": PLAIN,
        "weights": Rules(weights),
        "a breaker and a limit": Rules({}, [BREAKER], [LIMIT]),
        "weights, a breaker and a limit": Rules(weights, [BREAKER], [LIMIT]),
    }
    for waiting in (False, True):
        plain = None
        for name, rules in kinds.items():
            cost = measured(client, queues, rules, claims, waiting=waiting)
            plain = plain or cost
            printed(f"{len(queues)} queues, {'waiting' if waiting else 'empty'}: {name}", cost, plain, idle=not waiting)
    cost = measured(client, queues, Rules({}, [SHUT], []), claims // 10, waiting=True, held=99)
    printed(f"{len(queues)} queues, behind 99: a breaker", cost, plain, idle=False)
    cost = measured(client, queues, Rules({}, [SHUT], []), claims, waiting=True, held=100, resting=True)
    printed(f"{len(queues)} queues, 100 held: a breaker", cost, plain, idle=True)


def printed(name: str, cost: float, plain: float | None, *, idle: bool) -> None:
    share = f"{cost * IDLE_WORKERS * ASK_A_SECOND / 1e6:.1%}" if idle else ""
    print(f"{name:44}{cost:>12.1f}{cost / plain if plain else 1:>9.1f}x{share:>12}", flush=True)


def measured(
    client: Any,
    queues: Sequence[str],
    rules: Rules,
    claims: int,
    *,
    waiting: bool,
    held: int = 0,
    resting: bool = False,
) -> float:
    """Microseconds of the broker for one claim."""
    client.flushall()
    asked = [Queue(queue, connection=client) for queue in queues]
    for queue in asked if waiting else []:
        queue.enqueue_many([Queue.prepare_data(HELD) for _ in range(held)])
        queue.enqueue_many([Queue.prepare_data(TASK) for _ in range(0 if resting else claims // len(asked) + 1)])
    client.hset("pw:gates:bench:breaker:shut", mapping={"state": "open", "since": int(time.time() * 1000)})
    client.hset(f"{Worker.redis_worker_namespace_prefix}bench", "birth", "now")
    worker = Claims(Keys(), "bench", rules, "bench")
    worker.take(client, asked)  # the script is there now
    client.config_resetstat()
    for _ in range(claims):
        # The claim is dropped without a command that would count as a script.
        client.hdel(worker.keys.claims, "bench")
        if not resting:
            client.delete("pw:gates:bench:rest")
        worker.take(client, asked)
    stats = client.info("commandstats")["cmdstat_evalsha"]
    return float(stats["usec_per_call"])


if __name__ == "__main__":
    main()
