"""An rq job as a pool's workers see it: the pool's defaults and retry policy, and an event when it fails for good.

Producers and stock workers never meet this class; what it writes is what rq 3.0 writes, with one event beside it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from redis import Redis
from rq.exceptions import DeserializationError
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import FailedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import now

from pools.runtime import checkpoint, deadline, delivery, events, retry
from pools.runtime.backed_job import BackedJob
from pools.runtime.claims import Claims
from pools.runtime.identity import Identity
from pools.runtime.keys import Keys
from pools.runtime.refusals import DEFAULTS, Admission
from pools.runtime.retry import Wait
from pools.runtime.retry_budget import RetryBudget
from pools.runtime.rules import PLAIN, Rules
from pools.runtime.step import Step
from pools.runtime.task_name import task_name
from pools.runtime.worker_config import WorkerConfig


@dataclass(frozen=True)
class Policy:
    """The signed spec's part in a job's life; ttls and timeout in seconds, for jobs that have none of their own."""

    job_timeout: int
    failure_ttl: int
    rules: Sequence[retry.RetryRule]
    deliveries: Sequence[delivery.DeliveryRule] = ()
    admission: Admission = DEFAULTS
    budget: RetryBudget = field(default_factory=RetryBudget)

    @classmethod
    def of(cls, config: WorkerConfig) -> "Policy":
        own = (config.job_timeout, config.failure_ttl, config.retry, config.policies)
        return cls(*own, config.admission, config.retry_budget)


@dataclass
class Failure:
    """How this run of the job ended, as far as known: a killed horse leaves no exception. ``final``: come what may.

    ``kind`` is the dotted name of the exception's class, ``names`` those of its bases, too.
    """

    text: str = ""
    kind: str = ""
    names: frozenset[str] = field(default_factory=frozenset)
    execution: Execution | None = None
    worker: str = ""
    final: bool = False


class PoolFailedJobRegistry(FailedJobRegistry):
    """rq's registry; every terminal failure passes its ``add``, so the event joins that transaction."""

    def add(  # type: ignore[override]  # as rq itself does
        self, job: Job, ttl: int | None = None, exc_string: str = "", pipeline: Any = None
    ) -> None:
        assert isinstance(job, PoolJob)
        super().add(job, ttl=job.kept_failed if ttl is None else ttl, exc_string=exc_string, pipeline=pipeline)
        client = self.connection if pipeline is None else pipeline
        client.hdel(job.key, deadline.FIELD)  # whoever requeues it gives it a new one
        body = job.identity.failure(job.id, job.origin)
        events.append(client, job.keys.events, "job.failed", body)


class PoolJob(BackedJob):
    """Use ``bind``: rq creates jobs from the class alone, so what they need hangs on the class."""

    keys: Keys
    identity: Identity
    policy: Policy
    claims: Claims

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:
        super().__init__(id, connection, serializer)
        self.failure = Failure()
        self.claimed_from: Queue | None = None
        self._redeliver = 0
        self._in_horse = False
        self._deadline: float | None = None
        self.raw: dict[bytes, bytes] = {}
        self.prepared: tuple[Execution, Step] | None = None

    @classmethod
    def bind(cls, *, keys: Keys, identity: Identity, policy: Policy, rules: Rules = PLAIN) -> "type[PoolJob]":
        claims = Claims(keys, identity.worker, rules, identity.pool_uid, policy.admission.job_kib * 1024)
        bound = {"keys": keys, "identity": identity, "policy": policy, "claims": claims}
        return type("PoolJob", (cls,), bound | {"admission": policy.admission})

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self._redeliver = int(raw_data.get(delivery.FIELD.encode(), 0))
        self._deadline = deadline.read(raw_data.get(deadline.FIELD.encode()))
        if self.timeout is None:
            self.timeout = self.policy.job_timeout

    def note_policy(self) -> None:
        """Write into the job until when it may begin, and what is to become of this run should it be lost; nothing
        when that is there already. Raises ExpiredError, UnknownOutcome, JobRefused.

        In the horse: only there may a payload be read, which alone names the task. For one that runs elsewhere, in
        the worker, by the name that can be read off it.
        """
        self._in_horse = not self.elsewhere
        rule, at = delivery.rule_for(self.policy.deliveries, self._task()), time.time()
        self.check_key(rule)
        until = deadline.until(rule.deadline, self._deadline, (self.enqueued_at or self.created_at).timestamp(), at)
        deadline.check(until, rule.deadline, at)
        told: dict[Any, Any] = {}
        if rule.redeliver != self._redeliver:
            told[delivery.FIELD] = self._redeliver = rule.redeliver
        if until is not None and until != self._deadline:
            told[deadline.FIELD] = until
        self._deadline = until
        if told:
            self.connection.hset(self.key, mapping=told)

    def too_late(self) -> bool:
        """Whether the retry that this failure is to have would come after the job's deadline."""
        if self._deadline is None or not self.should_retry:
            return False
        found = None if self.retries_left is not None else self._wait()
        seconds = found.seconds if found else self.get_retry_interval()
        return time.time() + seconds > self._deadline

    def acknowledge(self, pipeline: Any) -> None:
        """Let go of the claim. By the queue it came from: its ``origin`` is only what its producer wrote."""
        if self.claimed_from is not None:
            self.claims.acknowledge(pipeline, self.claimed_from, self.id)

    def _execute(self) -> Any:
        try:
            return super()._execute()
        finally:
            checkpoint.forget()

    def set_status(self, status: JobStatus, pipeline: Any = None) -> None:
        """rq writes ``scheduled`` ahead of the transaction that schedules; a crash between would lose the job.

        The transaction (``Queue.schedule_job``) writes it again, so here it is only remembered.
        """
        if pipeline is None and status == JobStatus.SCHEDULED:
            self._status = status
        else:
            super().set_status(status, pipeline)

    @property
    def failed_job_registry(self) -> FailedJobRegistry:
        return PoolFailedJobRegistry(
            self.origin, connection=self.connection, job_class=type(self), serializer=self.serializer
        )

    def _handle_success(self, result_ttl: int, pipeline: Any, *args: Any, **kwargs: Any) -> None:
        super()._handle_success(result_ttl, pipeline, *args, **kwargs)
        if self._deadline is not None:
            pipeline.hdel(self.key, deadline.FIELD)  # it may be repeated

    def _handle_failure(self, exc_string: str, pipeline: Any, *args: Any, **kwargs: Any) -> None:
        super()._handle_failure(exc_string, pipeline, *args, **kwargs)
        if self.failure_ttl is None:
            # rq gives the failure's result no expiry of its own here: it would outlive its job.
            pipeline.expire(Result.get_key(self.id), self.kept_failed)  # type: ignore[no-untyped-call]

    @property
    def should_retry(self) -> bool:
        """A job enqueued with rq's own Retry keeps to it, also when it is used up; the pool's policy has the others."""
        if self.refused or self.failure.final:
            return False
        if self.retries_left is not None:
            return self.retries_left > 0
        return self._wait() is not None

    def spends(self) -> bool:
        """Whether this failure's retry is one that the pool's budget pays for.

        None of a job with rq's own rate limit, which bounds it already: its retry needs a script of rq's, that would
        run though the budget refuses.
        """
        if not self.should_retry or self.rate_limit_key:
            return False
        found = None if self.retries_left is not None else self._wait()
        return found is None or found.counts

    def retry(self, queue: Queue, pipeline: Any) -> None:
        """Schedule or enqueue the next attempt, and keep this one's traceback, which rq would drop.

        rq's clean-up of runs whose lease has ended asks for it too, and has none.
        """
        run, name = self.failure, self.failure.worker or self.worker_name or ""
        Result.create(
            self,
            Result.Type.RETRIED,
            self.kept_failed,
            exc_string=run.text or f"AbandonedJobError: Worker {name} fell silent while it ran this job.",
            worker_name=name,
            pipeline=pipeline,
            execution_id=run.execution.id if run.execution else None,
            execution_started_at=run.execution.created_at if run.execution else None,
            execution_ended_at=self.ended_at,
        )
        if self.retries_left is not None:
            super().retry(queue, pipeline)
            return
        found = self._wait()
        assert found is not None
        self.number_of_retries = (self.number_of_retries or 0) + found.counts
        if found.seconds:
            queue.schedule_job(self, now() + timedelta(seconds=found.seconds), pipeline=pipeline)
        else:
            queue._enqueue_job(self, pipeline=pipeline)

    def _wait(self) -> Wait | None:
        """By the pool's policy. Only an exception has names, or a timeout that the worker saw to."""
        if not self.failure.names:
            return None
        attempt, age = (self.number_of_retries or 0) + 1, (now() - self.created_at).total_seconds()
        return retry.wait(self.policy.rules, self._task(), self.failure.names, attempt, self.id, age)

    def _task(self) -> str:
        """The task's dotted name; empty when the payload cannot be read, which no rule matches.

        Outside the horse no pickle is loaded: there the name is read off it.
        """
        if not self._in_horse and self.serializer is not JSONSerializer:
            return task_name(self.data)
        try:
            return self.func_name or ""
        except DeserializationError:
            return ""
