"""The end of a job, in its horse or, when that has died, in the worker: rq's code, its writes as one fenced script.

An end counts only while the execution holds its lease (step.py).
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, cast

from rq.executions import Execution
from rq.job import Job
from rq.job_lifecycle import call_exception_handlers, format_exc_info
from rq.queue import Queue
from rq.results import Result
from rq.utils import now
from rq.worker import Worker

from pools.runtime import attempt, deadline, delivery, events, fallback, idempotency, secrets, step
from pools.runtime.attempt_note import noted
from pools.runtime.bounds import Bounds
from pools.runtime.claims import Claims, encoded
from pools.runtime.horse import Line
from pools.runtime.identity import Identity
from pools.runtime.job import Failure, PoolJob
from pools.runtime.reaper import Order, reap
from pools.runtime.retry import exception_name, exception_names
from pools.runtime.retry_budget import SPENT
from pools.runtime.sandbox.enclosure import Enclosure
from pools.runtime.worker_config import Lost

log = logging.getLogger("rq.worker")
# What rq's worker says of a success, in two lines at level INFO, is one of ours.
HORSE_LOG = log.getChild("horse")
HORSE_LOG.setLevel(logging.WARNING)

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class JobEnd(Worker):
    """The part of PoolWorker that ends a job. ``lease``: the execution that this process started or runs.

    ``_done``: it succeeded, and its end counts. ``_ahead``: the job that was claimed while this one's end is written;
    ``_reached_ahead``: there may be one on the broker.
    ``_line``: in a horse, to its worker. ``_unsaid``: jobs that are done, with their queues and their seconds.
    """

    identity: Identity
    claims: Claims
    job_class: type[PoolJob]
    bounds: Bounds
    enclosure: Enclosure | None = None
    lease: Execution | None = None
    _explained = ""
    _done = False
    _ahead: tuple[PoolJob, Queue] | None = None
    _reached_ahead = False
    _line: Line | None = None
    _unsaid: list[tuple[str, str, float]]

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:
        """Written with the end, not before: an end that does not count leaves no trace in the job's record."""
        job.ended_at = job.last_heartbeat = now()

    def handle_job_success(self, job: Job, queue: Queue, started_job_registry: Any, execution: Execution) -> None:
        write = super().handle_job_success
        self._done = self._commit("success", write, job, execution, queue, started_job_registry, execution)

    def note_done(self, job: Job) -> None:
        """To be said when nobody waits. In the worker: a new horse has never logged before, and would need a third of a
        millisecond."""
        took = (now() - job.started_at).total_seconds() if job.started_at else 0
        self._unsaid.append((job.origin, job.id, took))

    def say_done(self) -> None:
        for origin, job_id, took in self._unsaid:
            log.info("Worker %s: %s: job %s done in %.3f s", self.name, origin, job_id, took)
        self._unsaid.clear()

    def handle_job_retry(
        self, job: Job, queue: Queue, retry: Any, started_job_registry: Any, execution: Execution
    ) -> None:
        self._commit("retry", super().handle_job_retry, job, execution, queue, retry, started_job_registry, execution)

    def _finalize_failure(self, job: Job, queue: Queue, execution: Execution, exc_info: ExcInfo) -> None:
        exc_info = cast(PoolJob, job).note_refusal(exc_info)
        unbegun = exc_info[0] in (deadline.ExpiredError, idempotency.UnknownOutcome)
        cast(PoolJob, job).failure = Failure(
            kind=exception_name(exc_info[0]), names=exception_names(exc_info[0]), final=unbegun
        )
        if unbegun:
            exc_info = (*exc_info[:2], None)  # where in our code that was found out tells nobody anything
        self._explained = self.enclosure.isolation.explain(exc_info[1]) if self.enclosure else ""
        super()._finalize_failure(job, queue, execution, exc_info)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """As rq's, but what it logs is redacted."""
        log.error("Worker %s: job %s failed\n%s", self.name, job.id, secrets.redact(format_exc_info(exc_info)))
        call_exception_handlers(self._exc_handlers, job, *exc_info)

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: Any = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        exc_string = secrets.redact(exc_string)
        failure = cast(PoolJob, job).failure
        if self.is_horse:
            exc_string = f"{self._explained}\n{exc_string}" if self._explained else exc_string
        elif self.bounds.why:
            exc_string, failure.names, failure.kind = self.bounds.why, self.bounds.names, self.bounds.kind
        else:
            exc_string = self.bounds.left or exc_string
            if execution is not None and self._put_back(job, exc_string):
                return
        if cast(PoolJob, job).too_late():
            failure.final, exc_string = True, noted(deadline.TOO_LATE, exc_string)
        failure.text, failure.execution, failure.worker = exc_string, execution, self.name
        write, attempts = super().handle_job_failure, (job.number_of_retries, job.retries_left)
        try:
            self._commit("failure", write, job, execution, queue, started_job_registry, exc_string, execution)
        except step.BudgetSpent:
            failure.final = True
            job.number_of_retries, job.retries_left = attempts
            text = noted(SPENT, exc_string)
            self._commit("failure", write, job, execution, queue, started_job_registry, text, execution)

    def _put_back(self, job: Job, why: str) -> bool:
        """A horse that died without a word leaves its job as a dead worker does, where the job may run again."""
        if not int(self.connection.hget(job.key, delivery.FIELD) or 0):
            return False
        self._ahead, self._reached_ahead = None, False  # what this worker claimed goes back, too
        order = replace(self.order(Lost(self.name, why)), counts=not self.bounds.saved)
        reap(self.connection, self.claims.keys, order, self.identity.signature)
        return True

    def order(self, lost: Lost) -> Order:
        """To decide the jobs of a worker of this pool."""
        return Order(lost, self.identity.pool_uid, self.identity.config, self.job_class.policy.failure_ttl)

    def _commit(self, end: str, write: Callable[..., None], job: Job, execution: Execution | None, *args: Any) -> bool:
        """Let rq write a job's end, through steps that are fenced. Upkeep's are not: it ends what others had begun.

        False: it does not count.
        """
        if execution is None or execution is not self.lease:
            write(job, *args)
            return True
        if self._line is not None:
            self._line.ending()
        policy, pooled = self.job_class.policy, cast(PoolJob, job)
        change = policy.budget.change(end, retries=end == "failure" and pooled.spends())
        keys = [job.started_job_registry.key, self.key, pooled.keys.retries(self.identity.pool_uid)]
        after = self.claims.ended(end, pooled.failure.names, keyed=pooled.keyed)
        made = pooled.replacement(end, execution)
        beside = attempt.place(self.identity) | ({idempotency.BY: pooled.answer.by} if pooled.answer else {})
        beside |= {fallback.FIELD: made.id} if made else {}
        record = step.Record(Result.get_key(job.id), beside)  # type: ignore[no-untyped-call]
        told = [encoded(execution.composite_key), *change]
        guard = step.Guard(step.FINISH, keys, told, after, record, pooled.at_end(end, made))
        client, leased = self.connection, step.Leased(self.connection, guard)
        self.connection = cast(Any, leased)
        try:
            write(job, *args)
            if leased.unwritten is not None and self.is_horse:
                raise leased.unwritten  # which rq has only logged: the horse ends of it, and the worker writes the end
            return leased.unwritten is None
        except step.LeaseLost:
            pass
        finally:
            self.connection = client
        self._refused(job, execution, end)
        return False

    def _refused(self, job: Job, execution: Execution, end: str) -> None:
        log.error("Worker %s: the %s of job %s does not count: it lost its lease", self.name, end, job.id)
        job.webhooks = []  # nobody is told of an end that does not count
        body = self.identity.fenced(job.id, execution.id, end)
        events.append(self.connection, self.claims.keys.events, "job.fenced", body)
