"""What was asked for, and what really happened: jobs by queue, runs by job."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rq import Queue, Retry

# Of a hundred jobs: so many raise, may be retried as their producer says, take up to a second.
BROKEN, RETRIED, LONG = 5, 10, 10


@dataclass
class Ledger:
    """``queues``: job id → queue. ``path`` is the file that runs write to."""

    path: Path
    chance: random.Random
    queues: dict[str, str] = field(default_factory=dict)

    def enqueue(self, client: Any, queue: str, count: int) -> None:
        """``count`` more jobs, by rq's own means, as any producer does."""
        target = Queue(queue, connection=client)
        jobs = [self._job(queue) for _ in range(count)]
        target.enqueue_many(jobs)

    def _job(self, queue: str) -> Any:
        job_id = f"{queue}-{len(self.queues)}"
        self.queues[job_id] = queue
        lot = self.chance.randrange(100)
        return Queue.prepare_data(
            "work.broken" if lot < BROKEN else "work.effect",
            args=(str(self.path), job_id, self._seconds()),
            job_id=job_id,
            retry=Retry(max=2) if lot >= 100 - RETRIED else None,
            result_ttl=-1,
            failure_ttl=86_400,
        )

    def _seconds(self) -> float:
        long = self.chance.randrange(100) < LONG
        return round(self.chance.uniform(0.2, 1.0) if long else self.chance.uniform(0, 0.05), 3)

    def runs(self) -> dict[str, "Runs"]:
        """By job id; jobs that never ran are not in it."""
        found: defaultdict[str, Runs] = defaultdict(Runs)
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            what, job_id, run = line.split()
            found[job_id].note(what, run)
        return found


@dataclass
class Runs:
    """Of one job: their names as they began. ``at_once``: one ended after a later one had begun."""

    names: list[str] = field(default_factory=list)
    at_once: bool = False

    def note(self, what: str, run: str) -> None:
        if what == "start":
            self.names.append(run)
        elif run != self.names[-1]:
            self.at_once = True
