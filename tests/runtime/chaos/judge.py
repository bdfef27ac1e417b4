"""Reads the broker when all is over, and says of each job what became of it, and of all what does not hold."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from rq.job import Job
from rq.results import Result

from tests.runtime.chaos.ledger import Ledger, Runs
from tests.runtime.chaos.pools import ALL_QUEUES

# Key patterns of RQ's sorted sets and lists that hold the ids of jobs, by the name of the place.
SETS = {name: f"rq:{name}:" for name in ("failed", "finished", "scheduled", "deferred", "canceled", "ready")}
LISTS = {"queue": "rq:queue:{}", "intermediate": "rq:queue:{}:intermediate"}
WAITING = ("queue", "intermediate", "started", "scheduled")
ENDS = ("finished", "failed")
SHELF, QUARANTINE = "pw:shelf:job:", "quarantined"


@dataclass
class Verdict:
    """Counts for people; ``wrong``: what a job of which id did that may not be; ``facts``: what else was seen."""

    jobs: int
    ends: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def accuse(self, what: str, job_id: str) -> None:
        self.wrong[what].append(job_id)

    def __str__(self) -> str:
        ends = ", ".join(f"{count:,} {name}" for name, count in sorted(self.ends.items()))
        wrong = "; ".join(f"{len(ids)} {what} ({', '.join(ids[:3])})" for what, ids in sorted(self.wrong.items()))
        facts = ", ".join(f"{count:,} {name}" for name, count in sorted(self.facts.items()))
        return f"{self.jobs:,} jobs in {self.runs:,} runs: {ends}; {facts}; {wrong or 'nothing wrong'}"


def places(client: Any) -> dict[str, list[str]]:
    """Job id → every place that holds it, as often as it does. The broker is read as it is, without RQ's clean-up."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for queue in ALL_QUEUES:
        for name, key in LISTS.items():
            for raw in client.lrange(key.format(queue), 0, -1):
                found[raw.decode()].append(name)
        for name, key in SETS.items():
            for raw in client.zrange(key + queue, 0, -1):
                found[raw.decode()].append(name)
        for raw in client.zrange(f"rq:wip:{queue}", 0, -1):
            found[raw.decode().split(":")[0]].append("started")
    for raw in client.keys(SHELF + "*"):
        found[raw.decode().removeprefix(SHELF)].append(QUARANTINE)
    return found


def queued(client: Any) -> int:
    """How many jobs wait for a worker."""
    return sum(client.llen(LISTS["queue"].format(queue)) for queue in ALL_QUEUES)


def on_their_way(client: Any) -> int:
    """How many entries are in any place that is not an end."""
    with client.pipeline(transaction=False) as pipeline:
        for queue in ALL_QUEUES:
            for key in LISTS.values():
                pipeline.llen(key.format(queue))
            for key in (f"rq:scheduled:{queue}", f"rq:wip:{queue}"):
                pipeline.zcard(key)
        return sum(pipeline.execute())


def judge(client: Any, ledger: Ledger) -> Verdict:
    """The rules for any workers; ``traces`` adds those for ours."""
    verdict, runs, found = Verdict(len(ledger.queues)), ledger.runs(), places(client)
    verdict.runs = sum(len(of_job.began) for of_job in runs.values())
    for job_id in ledger.queues:
        if client.exists(f"rq:job:{job_id}"):
            verdict.ends[_place(verdict, client, job_id, found.get(job_id, []))] += 1
            _runs(verdict, Job.fetch(job_id, connection=client), runs.get(job_id, Runs()))
        elif found.get(job_id) == [QUARANTINE]:
            verdict.ends[QUARANTINE] += 1
        else:
            verdict.accuse("without a record", job_id)
    for job_id, of_job in runs.items():
        if len(of_job.began) > 1 and job_id not in ledger.repeatable:
            verdict.accuse("run again without leave", job_id)
    for job_id in found.keys() - ledger.queues.keys():
        if job_id.startswith("cron-"):  # there is a next one each minute, also now
            if not set(found[job_id]) <= set(WAITING):
                verdict.facts[f"cron jobs {_place(verdict, client, job_id, found[job_id])}"] += 1
        else:
            verdict.accuse("of nobody", job_id)
    return verdict


def _place(verdict: Verdict, client: Any, job_id: str, held: list[str]) -> str:
    """The one place in which it ended; ``nowhere`` when that is not so."""
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
        return held[0]
    return "nowhere"


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
    if set(committed) - set(runs.began):
        verdict.accuse("committed but never run", job.id)
    if committed and job.get_status(refresh=False) != "finished":
        verdict.accuse("committed but not finished", job.id)
    if len(runs.began) > 1:
        verdict.facts["run again"] += 1
    if runs.at_once:
        verdict.accuse("run twice at once", job.id)
    if len(runs.began) > len(attempts):
        verdict.accuse("run more often than recorded", job.id)
    if any(not result.exc_string for result in others):
        verdict.accuse("ended without a cause", job.id)
    if len(others) > len({result.execution_id or result.id for result in others}):
        verdict.accuse("one run ended twice", job.id)
