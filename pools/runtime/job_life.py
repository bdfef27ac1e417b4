"""A job from its claim to its end, in the worker and in its horse: rq's code, each step's writes as one script.

The worker starts the job, a horse runs it and commits its end, the worker commits it when the horse has died. An end
counts only while the execution holds its lease (step.py); docs/rq-3.md lists what differs from rq.
"""

import contextlib
import logging
import os
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, cast

from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.job_lifecycle import call_exception_handlers, format_exc_info
from rq.queue import Queue
from rq.utils import now
from rq.worker import Worker, WorkerStatus

from pools.runtime import connection, delivery, events, secrets, step
from pools.runtime.bounds import Bounds
from pools.runtime.channel import Channel
from pools.runtime.claims import Claims, encoded
from pools.runtime.connection import UNAVAILABLE
from pools.runtime.horse import LARGEST, Ended, Horse, Line
from pools.runtime.identity import Identity
from pools.runtime.job import Failure, PoolJob
from pools.runtime.processes import ProcessId, die_with_parent
from pools.runtime.reaper import Order, reap
from pools.runtime.retry import exception_names
from pools.runtime.sandbox.enclosure import NOT_ENCLOSED, Enclosure
from pools.runtime.worker_config import Lost

log = logging.getLogger("rq.worker")

# Only a job that runs for longer is told to the agent: a file written for each would cost as much as a short job.
REPORT_AFTER = 0.05

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class JobLife(Worker):
    """The part of PoolWorker that has a job in hand. ``lease``: the execution that this process started or runs."""

    channel: Channel
    identity: Identity
    claims: Claims
    process: ProcessId | None
    horse_jobs: int
    job_class: type[PoolJob]
    report: Callable[..., None]
    bounds: Bounds
    idle_connection: Any
    enclosure: Enclosure | None = None
    lease: Execution | None = None
    _horse: Horse | None = None
    _next_horse: Horse | None = None
    _explained = ""

    def execute_job(self, job: Job, queue: Queue) -> None:
        execution = self._start(cast(PoolJob, job), queue)
        if execution is None:
            return
        self.fork_work_horse(job, queue)
        self.monitor_work_horse(job, queue, execution)

    def _start(self, job: PoolJob, queue: Queue) -> Execution | None:
        """All that rq writes before a job runs, and the claim let go. None when the job is another's by now."""
        ttl = self.get_heartbeat_ttl(job)
        held = self.claims.guard(queue, job.id)
        guard = step.Guard(step.START, [self.claims.keys.claims, job.started_job_registry.key], held)
        with step.Step(self.connection, guard) as writes:
            execution = Execution.create(job, ttl, pipeline=writes, worker_name=self.name)
            guard.args.append(encoded(execution.composite_key))
            self.set_state(WorkerStatus.BUSY, pipeline=writes)
            super().heartbeat(ttl, pipeline=writes)
            job.prepare_for_execution(self.name, pipeline=writes)
            writes.persist(job.key)
            self.claims.let_go(writes, queue, job.id)
            try:
                writes.execute()
            except step.LeaseLost:
                self._refused(job, execution, "start")
                return None
        self.executions[execution.id] = self.lease = execution
        return execution

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """The worker has written it all, before the horse got the job, but what only a payload tells."""
        cast(PoolJob, job).examine_all()
        cast(PoolJob, job).note_delivery()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """rq also sends one alone, after each job; the next job's start or the idle worker's report is as good."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)

    # The horse.

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Hand the job to the horse, or to the next. While a horse has its last job, the next one is made."""
        assert self.lease is not None
        raw = cast(PoolJob, job).raw
        small = sum(map(len, raw.values())) < LARGEST // 2
        created = self.lease.created_at.timestamp()
        waiting = self._waiting_horse()
        self.bounds.begin(job.timeout or 0, waiting.pid if waiting else 0)
        self._horse = waiting or Horse(self.horse_jobs, self._serve)
        self.bounds.forked(self._horse.pid)
        self._horse_pid = self._horse.pid
        self._horse.send((job.id, queue.name, self.lease.id, created, self.identity.config, raw if small else None))
        if self._horse.spent and self.enclosure is None:  # the meter of an enclosed pool knows one horse at a time
            with contextlib.suppress(OSError):  # no process or memory to spare now; its own turn will tell
                self._next_horse = Horse(self.horse_jobs, self._serve)

    def _waiting_horse(self) -> Horse | None:
        """The horse at hand, or the next one, if it takes a job. A horse may die idle."""
        while self._horse is not None and not self._horse.takes_another():
            self._part()
        return self._horse

    def _part(self) -> None:
        assert self._horse is not None
        self.bounds.over(self._horse.dismiss())
        self._horse, self._next_horse = self._next_horse, None

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Until the job is over or the horse dead, as os.wait4 says it."""
        assert self._horse is not None
        try:
            ended = self._horse.wait(REPORT_AFTER)
        except TimeoutError:
            assert self.lease is not None
            self.report("busy", self.lease.job_id, ProcessId.of(self.horse_pid))
            ended = self._wait_within_bounds(self._horse)
        signal.alarm(0)  # rq's, for the next heartbeat: what follows must not be torn
        if ended is None:
            if self.enclosure is not None:
                self.reap_spent_horse()
            return self.horse_pid, os.EX_OK, None
        self.bounds.over(ended.status)
        return self.horse_pid, ended.status, ended.usage

    def _wait_within_bounds(self, horse: Horse) -> Ended | None:
        while True:
            if self.bounds.broken():
                log.warning("Worker %s: job killed. %s", self.name, self.bounds.why)
                horse.kill()
                return horse.wait()
            with contextlib.suppress(TimeoutError):
                return horse.wait(self.bounds.patience())

    def reap_spent_horse(self) -> None:
        """It has ended by itself; without an enclosure nobody waits for that while there are jobs."""
        if self._horse is not None and self._horse.spent:
            self._part()

    def dismiss_horses(self) -> None:
        while self._horse is not None:
            self._part()

    def _serve(self, line: Line) -> None:
        """In the child. A horse never outlives its worker: it would run beside the next attempt."""
        if self.process is None or not die_with_parent(self.process.pid):
            os._exit(1)
        if self.enclosure is not None:
            self._enclose(self.enclosure)
        random.seed()
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        self._is_horse = True
        os.environ["RQ_WORKER_ID"] = self.name
        try:
            connection.warm(self.connection)
            while told := line.next():
                job, queue = self._taken(*told)
                assert self.lease is not None
                os.environ["RQ_JOB_ID"] = job.id
                self.perform_job(job, queue, self.lease)
            os._exit(os.EX_OK)
        except:  # noqa: E722  # as rq: whatever it is, the worker sees that the horse failed
            os._exit(1)

    def _enclose(self, enclosure: Enclosure) -> None:
        try:
            enclosure.enter()
        except Exception:
            log.exception("Worker %s: the isolation could not be set up", self.name)
            os._exit(NOT_ENCLOSED)

    def _taken(
        self, job_id: str, queue_name: str, execution_id: str, created: float, config: int, raw: Any
    ) -> tuple[Job, Queue]:
        """The next job, as the worker holds it."""
        self.executions.clear()
        self.lease = Execution(execution_id, job_id, self.connection, self.name)
        self.lease.created_at = datetime.fromtimestamp(created, UTC)
        self.executions[execution_id] = self.lease
        self.identity.config = config
        job = self.job_class(job_id, connection=self.connection, serializer=self.serializer)
        job.restore(raw or self.connection.hgetall(job.key))
        job.worker_name, job._status = self.name, JobStatus.STARTED
        return job, next(queue for queue in self.queues if queue.name == queue_name)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Without patience: a job's bounds are looked after between two heartbeats, whether or not Redis is there."""
        client, self.connection = self.connection, self.idle_connection
        try:
            super().maintain_heartbeats(job, execution)
        except UNAVAILABLE as error:
            log.warning("Worker %s: Redis is away, job %s goes on: %s", self.name, job.id, error)
        finally:
            self.connection = client

    # The end.

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:
        """Written with the end, not before: an end that does not count leaves no trace in the job's record."""
        job.ended_at = job.last_heartbeat = now()

    def handle_job_success(self, job: Job, queue: Queue, started_job_registry: Any, execution: Execution) -> None:
        self._commit("success", super().handle_job_success, job, execution, queue, started_job_registry, execution)

    def handle_job_retry(
        self, job: Job, queue: Queue, retry: Any, started_job_registry: Any, execution: Execution
    ) -> None:
        self._commit("retry", super().handle_job_retry, job, execution, queue, retry, started_job_registry, execution)

    def _finalize_failure(self, job: Job, queue: Queue, execution: Execution, exc_info: ExcInfo) -> None:
        exc_info = cast(PoolJob, job).note_refusal(exc_info)
        cast(PoolJob, job).failure = Failure(names=exception_names(exc_info[0]))
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
            exc_string, failure.names = self.bounds.why, self.bounds.names
        elif execution is not None and self._put_back(job, exc_string):
            return
        failure.text, failure.execution, failure.worker = exc_string, execution, self.name
        self._commit(
            "failure", super().handle_job_failure, job, execution, queue, started_job_registry, exc_string, execution
        )

    def _put_back(self, job: Job, why: str) -> bool:
        """A horse that died without a word leaves its job as a dead worker does, where the job may run again."""
        if not int(self.connection.hget(job.key, delivery.FIELD) or 0):
            return False
        reap(self.connection, self.claims.keys, self.order(Lost(self.name, why)), self.identity.signature)
        return True

    def order(self, lost: Lost) -> Order:
        """To decide the jobs of a worker of this pool."""
        return Order(lost, self.identity.pool_uid, self.identity.config, self.job_class.policy.failure_ttl)

    def _commit(self, end: str, write: Callable[..., None], job: Job, execution: Execution | None, *args: Any) -> None:
        """Let rq write a job's end, through steps that are fenced. Upkeep's are not: it ends what others had begun."""
        if execution is None or execution is not self.lease:
            write(job, *args)
            return
        keys = [job.started_job_registry.key, self.key]
        guard = step.Guard(step.FINISH, keys, [encoded(execution.composite_key)])
        client = self.connection
        self.connection = cast(Any, step.Leased(client, guard))
        try:
            write(job, *args)
            return
        except step.LeaseLost:
            pass
        finally:
            self.connection = client
        self._refused(job, execution, end)

    def _refused(self, job: Job, execution: Execution, end: str) -> None:
        log.error("Worker %s: the %s of job %s does not count: it lost its lease", self.name, end, job.id)
        job.webhooks = []  # nobody is told of an end that does not count
        body = self.identity.fenced(job.id, execution.id, end)
        events.append(self.connection, self.claims.keys.events, "job.fenced", body)
