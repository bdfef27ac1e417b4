"""Reads the broker when all is over, and says of each job what became of it, and of all what does not hold."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rq.job import Job
from rq.results import Result

from pools.runtime.keys import Keys
from tests.runtime.chaos.fleet import QUEUES
from tests.runtime.chaos.ledger import Ledger, Runs

# Key patterns of RQ's sorted sets and lists that hold the ids of jobs, by the name of the place.
SETS = {name: f"rq:{name}:" for name in ("failed", "finished", "scheduled", "deferred", "canceled", "ready")}
LISTS = {"queue": "rq:queue:{}", "intermediate": "rq:queue:{}:intermediate"}
WAITING = ("queue", "intermediate", "started", "scheduled")
ENDS = ("finished", "failed")


@dataclass
class Verdict:
    """Counts for people; ``faults``: what a job of which id did that may not be."""

    jobs: int
    ends: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def accuse(self, what: str, job_id: str) -> None:
        self.wrong[what].append(job_id)

    def __str__(self) -> str:
        ends = ", ".join(f"{count:,} {name}" for name, count in sorted(self.ends.items()))
        wrong = "; ".join(f"{len(ids)} {what} ({', '.join(ids[:3])})" for what, ids in sorted(self.wrong.items()))
        return f"{self.jobs:,} jobs in {self.runs:,} runs: {ends}; {wrong or 'nothing wrong'}"


def places(client: Any) -> dict[str, list[str]]:
    """Job id → every place that holds it, as often as it does. The broker is read as it is, without RQ's clean-up."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for queue in QUEUES:
        for name, key in LISTS.items():
            for raw in client.lrange(key.format(queue), 0, -1):
                found[raw.decode()].append(name)
        for name, key in SETS.items():
            for raw in client.zrange(key + queue, 0, -1):
                found[raw.decode()].append(name)
        for raw in client.zrange(f"rq:wip:{queue}", 0, -1):
            found[raw.decode().split(":")[0]].append("started")
    return found


def queued(client: Any) -> int:
    """How many jobs wait for a worker."""
    return sum(client.llen(LISTS["queue"].format(queue)) for queue in QUEUES)


def on_their_way(client: Any) -> int:
    """How many entries are in any place that is not an end."""
    with client.pipeline(transaction=False) as pipeline:
        for queue in QUEUES:
            for key in LISTS.values():
                pipeline.llen(key.format(queue))
            for key in (f"rq:scheduled:{queue}", f"rq:wip:{queue}"):
                pipeline.zcard(key)
        return sum(pipeline.execute())


def judge(client: Any, ledger: Ledger) -> Verdict:
    """The rules for any workers; ``traces`` adds those for ours."""
    verdict, runs, found = Verdict(len(ledger.queues)), ledger.runs(), places(client)
    verdict.runs = sum(len(of_job.names) for of_job in runs.values())
    for job_id in ledger.queues:
        if client.exists(f"rq:job:{job_id}"):
            _place(verdict, client, job_id, found.get(job_id, []))
            _runs(verdict, Job.fetch(job_id, connection=client), runs.get(job_id, Runs()))
        else:
            verdict.accuse("without a record", job_id)
    for job_id in found.keys() - ledger.queues.keys():
        verdict.accuse("of nobody", job_id)
    return verdict


def _place(verdict: Verdict, client: Any, job_id: str, held: list[str]) -> None:
    status = (client.hget(f"rq:job:{job_id}", "status") or b"").decode()
    if not held:
        verdict.accuse("lost", job_id)
    elif len(held) > 1:
        verdict.accuse(f"in several places ({' and '.join(sorted(held))})", job_id)
    elif held[0] in WAITING:
        verdict.accuse(f"stuck in {held[0]}", job_id)
    elif status != held[0]:
        verdict.accuse(f"{held[0]} but says {status}", job_id)
    else:
        verdict.ends[held[0]] += 1


def _runs(verdict: Verdict, job: Job, runs: Runs) -> None:
    """Each start is told by one attempt of the job's record, and at most one of them was committed."""
    results = job.results()
    committed = [result.return_value for result in results if result.type == Result.Type.SUCCESSFUL]
    others = [result for result in results if result.type != Result.Type.SUCCESSFUL]
    attempts = {result.execution_id or result.id for result in others} | set(committed)
    if len(set(committed)) > 1:
        verdict.accuse("committed twice", job.id)
    elif len(committed) > 1:
        verdict.accuse("one run committed twice", job.id)
    if set(committed) - set(runs.names):
        verdict.accuse("committed but never run", job.id)
    if committed and job.get_status(refresh=False) != "finished":
        verdict.accuse("committed but not finished", job.id)
    if len(runs.names) > 1:
        verdict.ends["run again"] += 1
    if runs.at_once:
        verdict.accuse("run twice at once", job.id)
    if len(runs.names) > len(attempts):
        verdict.accuse("run more often than recorded", job.id)
    if any(not result.exc_string for result in others):
        verdict.accuse("ended without a cause", job.id)
    if len(others) > len({result.execution_id or result.id for result in others}):
        verdict.accuse("one run ended twice", job.id)


def traces(client: Any, keys: Keys, dead_letters: Iterable[str], told: list[dict[str, Any]]) -> list[str]:
    """What managed workers may not leave: claims, runs that nobody runs, dead letters that nobody heard of."""
    left = [f"claim of {worker.decode()}" for worker in client.hkeys(keys.claims)]
    for pattern in ("rq:executions:*", "rq:execution:*"):
        # A heartbeat that comes after the end makes rq's key anew, with an expiry: it goes by itself.
        left += [key.decode() for key in client.scan_iter(pattern) if client.ttl(key) == -1]
    heard = {body["job_id"] for body in told}
    return left + [f"{job_id}: no event" for job_id in dead_letters if job_id not in heard]
