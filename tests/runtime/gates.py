"""Pools with breakers and limits, played by hand: workers that claim, and ends that are written as a horse does."""

from dataclasses import asdict
from typing import Any

from rq import Queue
from rq.job import Job

from pools.runtime.claims import Claims
from pools.runtime.keys import Keys
from pools.runtime.rules import Breaker, Limit, Rules

UID = "pool"
BREAKER = Breaker("smtp", ["tasks.send*"], failures=3, window=60, open_for=60, probes=2, errors=[])
LIMIT = Limit("api", ["tasks.call*"], per_second=0, burst=1, concurrency=2, by="")


def rules(*gates: Breaker | Limit, weights: dict[str, int] | None = None) -> Rules:
    breakers = [gate for gate in gates if isinstance(gate, Breaker)]
    return Rules(weights or {}, breakers, [gate for gate in gates if isinstance(gate, Limit)])


class Worker:
    """Alive for rq as long as its key is there."""

    def __init__(self, client: Any, name: str, pool: Rules, queues: tuple[str, ...] = ("mail",)) -> None:
        self.client, self.name = client, name
        self.queues = [Queue(queue, connection=client) for queue in queues]
        self.claims = Claims(Keys(), name, pool, UID)
        client.hset(f"rq:worker:{name}", "birth", "now")
        self.holds: str | None = None

    def take(self) -> str | None:
        """The id of the job it got, read and corrected as a worker does, and begun. Nobody rests here."""
        self.client.delete(f"pw:gates:{UID}:rest")
        while found := self.claims.take(self.client, self.queues):
            queue = next(queue for queue in self.queues if queue.name == found.queue)
            raw = self.client.hgetall(Job.key_for(found.job_id))
            if misread := self.claims.misread(found, raw):
                self.claims.correct(self.client, queue, found, misread)
                continue
            with self.client.pipeline() as pipeline:
                self.claims.let_go(pipeline, queue, found.job_id)
                pipeline.execute()
            self.holds = found.job_id
            return found.job_id
        return None

    def end(self, how: str = "success", *names: str) -> None:
        self.client.execute_command(*self.claims.ended(how, frozenset(names)))


def state(client: Any, name: str = "smtp") -> str:
    told = client.hget(f"pw:gates:{UID}:breaker:{name}", "state")
    return told.decode() if told else "closed"


def asked(**changes: Any) -> dict[str, Any]:
    """A breaker's or limit's part of a spec."""
    return asdict(changes.pop("gate")) | changes
