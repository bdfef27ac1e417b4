"""``python -m tests.operations.chaos [JOBS KILLS [KIND:RUNNERS …]]``: the crash tests at length, broker included.

20,000 jobs and 100 kills in each scenario of ``crash_run``, on the database of POOLWARDEN_DATABASE_URL or a SQLite
file. All the while a Valkey with an append-only file is killed every one to three seconds, in the middle of whatever it
does, and started again. Says what was done, and ends with an AssertionError when anything does not hold.
"""

import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.operations.test_crash import killed
from tests.support.valkey import ValkeyServer, free_port

SCENARIOS = (
    "requeue:1",
    "requeue:3",
    "discard:3",
    "restore:1",
    "restore:3",
    "canary:3",
    "recall:3",
    "pause:3",
    "cancel:3",
)
HOUR = 3600.0


def main(jobs: int = 20_000, kills: int = 100, *scenarios: str) -> None:
    for scenario in scenarios or SCENARIOS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="poolwarden-chaos-") as folder:
            valkey, over = ValkeyServer(Path(folder) / "valkey", free_port()), threading.Event()
            valkey.start()
            fatal = Fatal(valkey, over)
            fatal.start()
            try:
                killed(Path(folder), valkey, scenario, jobs=jobs, kills=kills, seconds=HOUR)
            finally:
                over.set()
                fatal.join()
                valkey.kill()
        seconds = time.monotonic() - began
        done = f"{jobs:,} jobs, {kills} kills, the broker {fatal.count} times, {seconds:.0f} s"
        print(f"{scenario}: {done}: each job is in one place", flush=True)


class Fatal(threading.Thread):
    """Kills the broker again and again; ``count``: how often."""

    def __init__(self, valkey: ValkeyServer, over: threading.Event) -> None:
        super().__init__()
        self.valkey, self.over, self.count = valkey, over, 0

    def run(self) -> None:
        while not self.over.wait(random.uniform(1, 3)):
            self.valkey.kill()
            self.valkey.start()
            self.count += 1


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
