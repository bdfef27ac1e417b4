"""Taking jobs off queues so that no death loses one: claim, acknowledge, release.

A claimed job is in rq's intermediate list *and* in our claims hash, until the very transaction that puts it into a
registry. rq's own list says only that some worker took the job; the hash says which.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any

from redis.commands.core import Script
from rq.job import Job
from rq.queue import Queue
from rq.suspension import WORKERS_SUSPENDED
from rq.worker import Worker

from pools.runtime import idempotency, payload_version
from pools.runtime.keys import Keys
from pools.runtime.refusals import DEFAULTS
from pools.runtime.rules import PLAIN, Limit, Rules, Wish
from pools.runtime.task_name import argument, task_name

_LUA = files("pools.runtime").joinpath("lua")


def _script(*parts: str) -> str:
    return "".join(_LUA.joinpath(f"{part}.lua").read_text() for part in parts)


CLAIM = _script("record", "claim")
CLAIM_BY_RULES = _script("record", "holds", "gates", "once", "versions", "claim_by_rules")
MISREAD = _script("holds", "misread")
ENDED = _script("holds", "gates", "ended")
ACKNOWLEDGE = _script("holds", "acknowledge")
RELEASE = _script("holds", "release")


# In a job's hash, beside rq's fields, in pools whose claims weigh tasks: what the payload was found to call, where the
# description tells otherwise, and the argument that a limit counts by, followed by its path.
TASK, BY = "pw_task", "pw_by:"


def encoded(text: str) -> bytes:
    """What ``take`` decoded, byte for byte: anyone may push anything onto a list, and it must not stop the workers."""
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True)
class Claim:
    """A queue's name, the id of a job taken from it, and with rules: which task it was taken for, and which job stood
    before it. ``record``: the job's hash, as fields and values in turn, or why it is none, see record.lua.
    """

    queue: str
    job_id: str
    record: list[bytes] | int = field(default_factory=list, compare=False, repr=False)
    task: str = ""
    before: str = ""


class Claims:
    """The claims of one worker. Every method may be repeated when its answer was lost.

    ``rules`` are those of its pool, ``pool_uid``; without any the plain script claims. ``wishes``: what people want of
    its breakers. ``most``: bytes of a job's record that a claim answers.
    """

    def __init__(
        self,
        keys: Keys,
        worker: str,
        rules: Rules = PLAIN,
        pool_uid: str = "",
        most: int = DEFAULTS.job_kib * 1024,
    ) -> None:
        self.keys = keys
        self.worker = worker
        self.rules = rules
        self.pool_uid = pool_uid
        self.most = most
        self.wishes: Sequence[Wish] = ()
        self._rules_told: str | None = None
        self._script: Script | None = None

    def take(self, connection: Any, queues: Sequence[Queue]) -> Claim | None:
        """Claim the next job, by queue order or the pool's rules; None when there is none that may begin.

        Until the claim is acknowledged or dropped, the same job is answered again. Raises redis errors.
        """
        lists = [key for queue in queues for key in (queue.key, queue.intermediate_queue_key)]
        keys: list[Any] = [self.keys.claims, WORKERS_SUSPENDED]
        # time.time() and not Redis' TIME: rq compares first_seen with its own clock.
        args: list[Any] = [self.worker, time.time()]
        if not self.rules.plain:
            keys += [self.keys.weights(self.pool_uid), self.keys.holds, f"{self._gates}rest"]
            args += [self._told([queue.name for queue in queues]), json.dumps([asdict(wish) for wish in self.wishes])]
        if self._script is None:
            self._script = Script(connection, CLAIM if self.rules.plain else CLAIM_BY_RULES)
        args += [Job.redis_job_namespace_prefix, self.most]
        answer = self._script([*keys, *lists], args, client=connection)
        if answer is None:
            return None
        record = answer.pop(2)
        queue_key, job_id, *task = (part.decode(errors="surrogateescape") for part in answer)
        return Claim(queue_key.removeprefix(Queue.redis_queue_namespace_prefix), job_id, record, *task)

    def _told(self, queues: list[str]) -> str:
        """The rules, as text: the same for as long as the worker lives."""
        if self._rules_told is None:
            told = self.rules.told(queues)
            told |= {"base": self._gates, "workers": Worker.redis_worker_namespace_prefix}
            self._rules_told = json.dumps(told | {"jobs": Job.redis_job_namespace_prefix})
        return self._rules_told

    def misread(self, claim: Claim, raw: Mapping[bytes, bytes]) -> dict[str, str]:
        """What the claim did not know of the job whose record is ``raw``: fields that ``correct`` writes down.

        Only what its payload calls counts; of one that cannot be read the claim stands. Raises JobRefused.
        """
        if not self.rules.takes or b"data" not in raw:
            return {}
        task = task_name(raw[b"data"])
        gates, policy = self.rules.gates_of(task), self.rules.policy_of(task)
        if not task:
            return {}
        claimed_for = self.rules.gates_of(claim.task), self.rules.policy_of(claim.task)
        told = {TASK: task} if (gates, policy) != claimed_for else {}
        paths = {gate.argument for gate in gates if isinstance(gate, Limit) and gate.argument}
        values = {f"{BY}{path}": argument(raw[b"data"], path) for path in paths}
        if path := policy.idempotency_key:
            values[idempotency.DIGEST] = idempotency.digest(self.pool_uid, task, raw[b"data"], path, claim.job_id)
        if policy.schema_versions and not policy.knows(found := payload_version.version(raw.get(b"meta", b""))):
            values[payload_version.FIELD] = found
        return told | {name: value for name, value in values.items() if raw.get(name.encode()) != encoded(value)}

    def correct(self, connection: Any, queue: Queue, claim: Claim, told: Mapping[str, str]) -> None:
        """Give a claimed job back, at its place in its queue, with what ``misread`` found."""
        job_id = claim.job_id
        keys = [self.keys.claims, self.keys.holds, queue.key, queue.intermediate_queue_key]
        keys += [queue.intermediate_queue.get_first_seen_key(job_id), Job.key_for(job_id)]
        fields = [part for item in told.items() for part in item]
        args = [*self.guard(queue, job_id), job_id, claim.before, *fields]
        connection.eval(MISREAD, len(keys), *(encoded(part) if isinstance(part, str) else part for part in keys + args))

    @property
    def _gates(self) -> str:
        """What the keys of the pool's breakers and limits begin with."""
        return f"{self.keys.gates(self.pool_uid)}:"

    def ended(self, how: str, names: frozenset[str], *, keyed: bool = True) -> tuple[Any, ...]:
        """The command that follows the end of a job in its transaction; none where nothing was taken at a claim.

        ``how``: success, retry or failure; ``names``: of the failure's exception; ``keyed``: it has an idempotency key.
        """
        if not self.rules.gates and not (keyed and self.rules.policies):
            return ()
        verdicts = json.dumps(self.rules.verdicts(how, names))
        return ("EVAL", ENDED, 1, self.keys.holds, self.worker, self._gates, verdicts)

    def acknowledge(self, connection: Any, queue: Queue, job_id: str) -> None:
        """Let go of a claim, usually on the pipeline that stores the job elsewhere; nothing when it is not held."""
        # EVAL, not a registered script: in a pipeline redis-py would ask SCRIPT EXISTS first, a round trip each job.
        first_seen = encoded(queue.intermediate_queue.get_first_seen_key(job_id))
        connection.eval(
            ACKNOWLEDGE,
            4,
            self.keys.claims,
            queue.intermediate_queue_key,
            first_seen,
            self.keys.holds,
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
        job_id = connection.eval(RELEASE, 2, self.keys.claims, self.keys.holds, self.worker, prefix)
        return job_id.decode() if job_id else None
