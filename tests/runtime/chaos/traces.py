"""What else must hold of managed workers: nothing left over, gates held, a console that knows what is so."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from pools.runtime.keys import Keys
from tests.runtime.chaos.fleet import Managed
from tests.runtime.chaos.judge import QUARANTINE, SHELF, Verdict, places
from tests.runtime.chaos.ledger import Ledger, most_at_once
from tests.runtime.chaos.pools import CONCURRENCY, QUEUES

SETTLED = 200.0  # seconds: a dead worker's key lives for two minutes, then upkeep gives back what it took


def trace(verdict: Verdict, client: Any, fleet: Managed, ledger: Ledger) -> None:
    """Add to ``verdict`` what does not hold. Waits for upkeep and the console, which come after the last job."""
    keys = fleet.hosts[0].keys
    _refused(verdict, ledger, client)
    _gates(verdict, ledger)
    for fault in fleet.console.faults:
        verdict.accuse("went wrong in the console", fault)
    for who, kind in (("agents", "agent"), ("the controller", "system")):
        ((verdict.facts[f"lost workers told by {who}"],),) = fleet.console.query(LOST.format(kind))
    for what, found in (
        ("left behind", lambda: list(_left(client, keys))),
        ("not as the console says", lambda: list(_console(client, fleet))),
        ("a dead letter that nobody heard of", lambda: _unheard(client, fleet)),
    ):
        for item in _until_empty(found, fleet):
            verdict.accuse(what, item)


def await_quarantine(client: Any, fleet: Managed, ledger: Ledger) -> None:
    """It comes after the last job. What is not there in time, ``trace`` finds."""
    refused = {job_id for job_id, task in ledger.tasks.items() if task == "unlisted"}
    _until_empty(lambda: [job_id for job_id in refused if not client.exists(SHELF + job_id)], fleet)


def _until_empty(found: Callable[[], list[str]], fleet: Managed) -> list[str]:
    deadline = time.monotonic() + SETTLED
    while (rest := found()) and time.monotonic() < deadline:
        fleet.tend()
        time.sleep(0.5)
    return rest


def _refused(verdict: Verdict, ledger: Ledger, client: Any) -> None:
    ran, shelved = ledger.runs(), places(client)
    for job_id, task in ledger.tasks.items():
        if task == "unlisted" and job_id in ran:
            verdict.accuse("run though it is not admitted", job_id)
        if (task == "unlisted") != (shelved.get(job_id) == [QUARANTINE]):
            verdict.accuse("wrongly in quarantine or not there", job_id)
    for job_id, runs in ran.items():
        if job_id.startswith("cron-") and len(runs.began) > 1:
            verdict.accuse("a cron slot run twice", job_id)


def _gates(verdict: Verdict, ledger: Ledger) -> None:
    """By what really ran: runs that ended, as nobody knows when the others did."""
    gated = [job_id for job_id, task in ledger.tasks.items() if task == "gated"]
    runs = [runs for job_id, runs in ledger.runs().items() if job_id in gated and ledger.queues[job_id] in LIMITED]
    spans = [(of_job.began[run], ended) for of_job in runs for run, ended in of_job.ended.items()]
    most = verdict.facts["most that the limit let run"] = most_at_once(spans)
    if most > CONCURRENCY:
        verdict.accuse("more at once than the limit allows", f"{most} of {CONCURRENCY}")


LIMITED = QUEUES["letters"]


def _left(client: Any, keys: Keys) -> Iterator[str]:
    """Claims, places and probes that nobody holds, and runs that nobody runs."""
    yield from (f"claim of {worker.decode()}" for worker in client.hkeys(keys.claims))
    yield from (f"hold of {worker.decode()}" for worker in client.hkeys(keys.holds))
    for pattern in (f"{keys.gates('*')}:*:running", f"{keys.gates('*')}:*:probes"):
        yield from (key.decode() for key in client.scan_iter(pattern))
    for pattern in ("rq:executions:*", "rq:execution:*"):
        # A heartbeat that comes after the end makes rq's key anew, with an expiry: it goes by itself.
        yield from (key.decode() for key in client.scan_iter(pattern) if client.ttl(key) == -1)


def _console(client: Any, fleet: Managed) -> Iterator[str]:
    """Jobs whose dead letters are not in the state that the broker shows them in; counts that do not add up."""
    held = places(client)
    for state, place in (("open", "failed"), ("quarantined", QUARANTINE)):
        told = {str(row[0]) for row in fleet.console.query(LETTERS.format(state))}
        there = {job_id for job_id, at in held.items() if at == [place]}
        yield from (f"{job_id}: {state} in the console, not {place}" for job_id in told - there)
        yield from (f"{job_id}: {place}, not {state} in the console" for job_id in there - told)
        if state == "open":
            ((groups,),) = fleet.console.query(GROUPS)
            yield from [f"{groups} in groups"] if (groups or 0) != len(there) else []


LOST = "SELECT count(*) FROM audit_event WHERE action = 'worker.lost' AND actor_kind = '{}'"
# Jobs of the console's own queue have a worker of rq's, and may fail: whatever they left undone is done by others.
OURS = "pool_id IN (SELECT id FROM pools_pool WHERE kind = 'managed')"
LETTERS = f"SELECT job_id FROM pools_deadletter WHERE {OURS} AND state = '{{}}'"
GROUPS = f"SELECT sum(open_count) FROM pools_failuregroup WHERE {OURS}"


def _unheard(client: Any, fleet: Managed) -> list[str]:
    """Every dead letter is an event, too: the console must not depend on finding it."""
    heard = {body["job_id"] for body in fleet.hosts[0].events("job.failed")}
    return [job_id for job_id, at in places(client).items() if at == ["failed"] and job_id not in heard]
