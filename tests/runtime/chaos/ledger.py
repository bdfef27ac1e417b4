"""What was asked for, and what really happened: jobs by queue, runs by job."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

from rq import Queue, Retry

# Of a hundred jobs so many call each task of the application. The rest, ``effect``, may be run only once.
TASKS = {"broken": 5, "flaky": 10, "gated": 10, "again": 20, "unlisted": 2}
REST = "effect"
# Of a hundred of the rest: so many may be retried as their producer says, so many are due later.
RETRIED, LATER = 15, 10
LONG = 10  # of a hundred jobs: so many take up to a second


@dataclass
class Ledger:
    """``queues``: job id → queue; ``tasks``: job id → task. ``path`` is the file that runs write to.

    ``repeatable``: ids of jobs that may begin more than once.
    """

    path: Path
    chance: random.Random
    queues: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    repeatable: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.path.touch()
        self.path.chmod(0o666)  # jobs under isolation run as another user

    def enqueue(self, client: Any, queue: str, count: int) -> None:
        """``count`` more jobs, by rq's own means, as any producer does."""
        target = Queue(queue, connection=client)
        jobs = [self._job(target) for _ in range(count)]
        target.enqueue_many([job for job in jobs if job])

    def _job(self, queue: Queue) -> Any:
        """What ``enqueue_many`` takes; None for a job that is due later."""
        job_id, task = f"{queue.name}-{len(self.queues)}", self._task()
        self.queues[job_id], self.tasks[job_id] = queue.name, task
        lot = self.chance.randrange(100) if task == REST else 100
        if lot < RETRIED or task in ("again", "flaky"):
            self.repeatable.add(job_id)
        told: dict[str, Any] = {"job_id": job_id, "result_ttl": -1, "failure_ttl": 86_400}
        if lot < RETRIED:
            told["retry"] = Retry(max=2, interval=self.chance.choice([0, 1]))
        args = (str(self.path), job_id, self._seconds())
        if RETRIED <= lot < RETRIED + LATER:
            queue.enqueue_in(timedelta(seconds=self.chance.uniform(0, 3)), f"work.{task}", args=args, **told)
            return None
        return Queue.prepare_data(f"work.{task}", args=args, **told)

    def _task(self) -> str:
        lot = self.chance.randrange(100)
        return next((task for task, end in zip(TASKS, accumulate(TASKS.values()), strict=True) if lot < end), REST)

    def _seconds(self) -> float:
        long = self.chance.randrange(100) < LONG
        return round(self.chance.uniform(0.2, 1.0) if long else self.chance.uniform(0, 0.05), 3)

    def runs(self) -> dict[str, "Runs"]:
        """By job id; jobs that never ran are not in it."""
        found: defaultdict[str, Runs] = defaultdict(Runs)
        for line in self.path.read_text().splitlines():
            what, job_id, run, at = line.split()
            found[job_id].note(what, run, float(at))
        return found


@dataclass
class Runs:
    """Of one job: when they began, by name, in that order, and when those ended that did.

    ``at_once``: one ended after a later one had begun.
    """

    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    at_once: bool = False

    def note(self, what: str, run: str, at: float) -> None:
        (self.began if what == "start" else self.ended)[run] = at
        if what == "end" and run != list(self.began)[-1]:
            self.at_once = True


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """How many of these spans, each a beginning and an end, held at one moment."""
    moments = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    return max(accumulate(change for _, change in moments), default=0)
