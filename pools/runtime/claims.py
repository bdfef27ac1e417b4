"""Taking jobs off queues so that no death loses one: claim, acknowledge, release.

A claimed job is in rq's intermediate list *and* in our claims hash, until the very transaction that puts it into a
registry. rq's own list says only that some worker took the job; the hash says which.
"""

import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from rq.job import Job
from rq.queue import Queue
from rq.suspension import WORKERS_SUSPENDED

from pools.runtime.keys import Keys
from pools.runtime.rules import PLAIN, Rules

_LUA = files("pools.runtime").joinpath("lua")
CLAIM, BY_RULES, ACKNOWLEDGE, RELEASE = (
    _LUA.joinpath(f"{name}.lua").read_text() for name in ("claim", "claim_by_rules", "acknowledge", "release")
)


def encoded(text: str) -> bytes:
    """What ``take`` decoded, byte for byte: anyone may push anything onto a list, and it must not stop the workers."""
    return text.encode(errors="surrogateescape")


class Claims:
    """The claims of one worker. Every method may be repeated when its answer was lost.

    ``rules`` are those of its pool, ``pool_uid``; without any the plain script claims.
    """

    def __init__(self, keys: Keys, worker: str, rules: Rules = PLAIN, pool_uid: str = "") -> None:
        self.keys = keys
        self.worker = worker
        self.rules = rules
        self.pool_uid = pool_uid

    def take(self, connection: Any, queues: Sequence[Queue]) -> tuple[str, str] | None:
        """Claim the next job, by queue order or the pool's rules: its queue's name and its id; None without one.

        Until the claim is acknowledged or dropped, the same job is answered again. Raises redis errors.
        """
        lists = [key for queue in queues for key in (queue.key, queue.intermediate_queue_key)]
        # time.time() and not Redis' TIME: rq compares first_seen with its own clock.
        keys, args = [self.keys.claims, WORKERS_SUSPENDED], [self.worker, time.time()]
        if self.rules.plain:
            answer = connection.register_script(CLAIM)(keys=[*keys, *lists], args=args)
        else:
            told = self.rules.told([queue.name for queue in queues])
            keys = [*keys, self.keys.weights(self.pool_uid), *lists]
            answer = connection.register_script(BY_RULES)(keys=keys, args=[*args, told])
        if answer is None:
            return None
        queue_key, job_id = (part.decode(errors="surrogateescape") for part in answer)
        return queue_key.removeprefix(Queue.redis_queue_namespace_prefix), job_id

    def acknowledge(self, connection: Any, queue: Queue, job_id: str) -> None:
        """Let go of a claim, usually on the pipeline that stores the job elsewhere; nothing when it is not held."""
        # EVAL, not a registered script: in a pipeline redis-py would ask SCRIPT EXISTS first, a round trip each job.
        first_seen = encoded(queue.intermediate_queue.get_first_seen_key(job_id))
        connection.eval(
            ACKNOWLEDGE,
            3,
            self.keys.claims,
            queue.intermediate_queue_key,
            first_seen,
            self.worker,
            encoded(f"{queue.key}\n{job_id}"),
            encoded(job_id),
        )

    def guard(self, queue: Queue, job_id: str) -> list[Any]:
        """What the script that starts a job asks for: whose claim, and on what."""
        return [self.worker, encoded(f"{queue.key}\n{job_id}")]

    def let_go(self, pipeline: Any, queue: Queue, job_id: str) -> None:
        """``acknowledge`` as plain writes, for a script that has looked whether the claim is held."""
        pipeline.hdel(self.keys.claims, self.worker)
        pipeline.delete(encoded(queue.intermediate_queue.get_first_seen_key(job_id)))
        pipeline.lrem(queue.intermediate_queue_key, 1, encoded(job_id))

    def release(self, connection: Any) -> str | None:
        """For a dead worker: put its claimed job back at the head of its queue. Returns the job's id, if any."""
        prefix = Job.redis_job_namespace_prefix
        job_id = connection.eval(RELEASE, 1, self.keys.claims, self.worker, prefix)
        return job_id.decode() if job_id else None
