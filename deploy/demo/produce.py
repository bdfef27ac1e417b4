"""The demo's producer: sends each module of the standard library to be parsed and to be compressed.

    python deploy/demo/produce.py --redis redis://127.0.0.1:6379/0

First the whole library, as fast as the workers take it; then one module every few seconds, for ever. A job's id is made
from its module, and a module whose job is still known to RQ (waiting, running, failed, or lately finished) is left
alone. So a restart duplicates nothing, and a failed job stays what it is until somebody requeues or discards it.
"""

import argparse
import os
import re
import signal
import sysconfig
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import stdlib_jobs
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.exceptions import DuplicateJobError


def find_modules(root: Path) -> list[Path]:
    """Every Python file of the standard library, in a stable order; installed packages are not part of it."""
    return sorted(path for path in root.rglob("*.py") if "site-packages" not in path.relative_to(root).parts)


def describe(root: Path, modules: list[Path]) -> str:
    lines = f"{len(modules)} modules of the standard library in {root}"
    if (root / "test").is_dir():
        return lines
    return f"{lines}\nThis Python has no `test` package: fewer kinds of failure will appear."


def job_id_for(queue: str, module: Path) -> str:
    """RQ allows letters, digits, ``_`` and ``-`` in a job's id."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", f"{queue}-{module.with_suffix('')}")


@dataclass
class Feed:
    """One queue's walk through the modules, over and over."""

    queue: Queue
    job: Callable[[str], object]
    root: Path
    modules: list[Path]
    sent: int = 0  # how far the walk is, counting every module passed, over all rounds

    def send(self, max_waiting: int, stop: threading.Event) -> None:
        """Top up the queue: to ``max_waiting`` jobs in the first round, by one job in the later ones."""
        room = max_waiting - self.queue.count
        round_end = self.sent + len(self.modules)
        while room > 0 and self.sent < round_end and not stop.is_set():
            first_round = self.sent < len(self.modules)
            added = self._enqueue(self.modules[self.sent % len(self.modules)])
            self.sent += 1
            if added:
                room = room - 1 if first_round else 0

    def _enqueue(self, path: Path) -> bool:
        job_id = job_id_for(self.queue.name, path.relative_to(self.root))
        try:
            self.queue.enqueue(self.job, str(path), job_id=job_id, unique=True)
        except DuplicateJobError:
            return False
        return True


def produce(feeds: list[Feed], max_waiting: int, every: float, stop: threading.Event) -> None:
    """Feed the queues until ``stop`` is set. While Redis is away, say so and try again."""
    while not stop.is_set():
        try:
            for feed in feeds:
                feed.send(max_waiting, stop)
        except RedisError as error:
            print(f"Redis: {error}; trying again", flush=True)
        stop.wait(every)


def main() -> None:
    parser = argparse.ArgumentParser(description="Enqueue the standard library's modules as RQ jobs.")
    parser.add_argument("--redis", default=os.environ.get("POOLWARDEN_REDIS_URL", "redis://127.0.0.1:6379/0"))
    waiting = os.environ.get("POOLWARDEN_DEMO_WAITING", "400")
    parser.add_argument("--max-waiting", type=int, default=waiting, help="never more waiting jobs than this in a queue")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two rounds of feeding")
    options = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    root = Path(sysconfig.get_path("stdlib"))
    modules = find_modules(root)
    print(describe(root, modules), flush=True)
    connection = Redis.from_url(options.redis)
    feeds = [
        Feed(Queue("stdlib.parse", connection, serializer="json"), stdlib_jobs.parse_module, root, modules),
        Feed(Queue("stdlib.compress", connection, serializer="json"), stdlib_jobs.compress_module, root, modules),
    ]
    produce(feeds, options.max_waiting, options.every, stop)


if __name__ == "__main__":
    main()
