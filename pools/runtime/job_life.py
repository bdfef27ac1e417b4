"""A job from its claim to its end, in the worker and in its horse: rq's code, each step's writes as one script.

The worker starts the job, a horse runs it and commits its end (job_end.py), the worker commits it when the horse has
died. docs/rq-3.md lists what differs from rq.
"""

import contextlib
import logging
import os
import random
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.worker import WorkerStatus

from pools.runtime import attempt, connection, step
from pools.runtime.channel import Channel
from pools.runtime.claims import encoded
from pools.runtime.connection import UNAVAILABLE
from pools.runtime.horse import LARGEST, Ended, Horse, Line
from pools.runtime.job import PoolJob
from pools.runtime.job_end import HORSE_LOG, JobEnd
from pools.runtime.processes import ProcessId
from pools.runtime.sandbox.enclosure import NOT_ENCLOSED, Enclosure
from pools.runtime.sandbox.folder import Folder
from pools.runtime.sandbox.meter import Meter
from pools.runtime.stable import Stable

log = logging.getLogger("rq.worker")

# Only a job that runs for longer is told to the agent: a file written for each would cost as much as a short job.
REPORT_AFTER = 0.05


class JobLife(JobEnd):
    """The part of PoolWorker that has a job in hand."""

    channel: Channel
    process: ProcessId | None
    horse_jobs: int
    report: Callable[..., None]
    idle_connection: Any
    meter: Meter | None
    claim_ahead: Callable[[], None]
    _stable: Stable | None = None
    _horse: Horse | None = None
    _next_horse: Horse | None = None
    _leaving: list[Horse]
    _left_folders: list[Folder]

    def execute_job(self, job: Job, queue: Queue) -> None:
        pooled = cast(PoolJob, job)
        self._hand_over(pooled, queue, self.prepare(pooled, queue)[0])
        execution = self._start(pooled, queue)
        if execution is None:
            self._dismiss(killed=True)
            self._horse_pid = 0
            return
        self.fork_work_horse(job, queue)
        self.monitor_work_horse(job, queue, execution)
        if self._horse is not None and self._horse.done:
            self.note_done(job)

    def _start(self, job: PoolJob, queue: Queue) -> Execution | None:
        """All that rq writes before a job runs, and the claim let go. None when it is another's by now, or gone."""
        execution, writes = self.prepare(job, queue)
        with writes:
            try:
                writes.execute()
            except step.LeaseLost:
                self._refused(job, execution, "start")
                return None
            except step.JobChanged:  # the claim, answered again, says what it has become
                log.info("Worker %s: job %s has changed since it was claimed", self.name, job.id)
                return None
        self.executions[execution.id] = self.lease = execution
        return execution

    def prepare(self, job: PoolJob, queue: Queue) -> tuple[Execution, step.Step]:
        """The run that is to begin, and what is to be written for it; once for a job."""
        if job.prepared is not None:
            return job.prepared
        ttl = self.get_heartbeat_ttl(job)
        keys = [self.claims.keys.claims, job.started_job_registry.key, job.key]
        guard = step.Guard(step.START, keys, self.claims.guard(queue, job.id))
        writes = step.Step(self.connection, guard)
        execution = attempt.PoolExecution.create(job, ttl, pipeline=writes, worker_name=self.name)
        guard.args.extend([encoded(execution.composite_key), job.raw.get(b"status", b"")])
        self.set_state(WorkerStatus.BUSY, pipeline=writes)
        super().heartbeat(ttl, pipeline=writes)
        job.prepare_for_execution(self.name, pipeline=writes)
        writes.persist(job.key)
        if stale := job.stale():
            writes.hdel(job.key, *stale)
        if told := job.at_start(execution):
            writes.hset(job.key, mapping=told)
        self.claims.let_go(writes, queue, job.id)
        job.prepared = execution, writes
        return job.prepared

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """The worker has written it all, before the horse got the job, but what only a payload tells."""
        cast(PoolJob, job).examine_all()
        cast(PoolJob, job).note_policy()

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """rq also sends one alone, after each job; the next job's start or the idle worker's report is as good."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)

    # The horse.

    def _hand_over(self, job: PoolJob, queue: Queue, execution: Execution) -> None:
        """To the horse, or to the next, which reads it and waits for the word to begin. Raises OSError."""
        small = sum(map(len, job.raw.values())) < LARGEST // 2
        created, raw = execution.created_at.timestamp(), job.raw if small else None
        self._horse = self._waiting_horse() or self._new_horse()
        self._horse_pid = self._horse.pid
        self._horse.send((job.id, queue.name, execution.id, created, self.identity.config, raw))

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Let the horse begin. While a horse has its last job, the next one is made."""
        assert self._horse is not None
        self._part()
        self.bounds.begin(job.timeout or 0, self._horse.pid, self._horse.folder)
        self._horse.begin()
        if self._horse.spent:
            with contextlib.suppress(OSError):  # no process or memory to spare now; its own turn will tell
                self._next_horse = self._new_horse()
        self._tidy()

    def _new_horse(self) -> Horse:
        """Raises OSError."""
        if self._stable is not None and self._stable.broken:
            self._close_stable()
        if self._stable is None:
            self._stable = Stable(self._serve, self._prepare)
            if self.meter is not None:
                self.meter.spare(self._stable.pid)
        folder = self.enclosure.prepare() if self.enclosure else None
        try:
            return self._stable.horse(self.horse_jobs, folder)
        except OSError:
            if folder is not None:
                folder.remove()
            raise

    def _prepare(self) -> None:
        """In the stable: what it does here its horses need not do."""
        connection.lay_in(self.connection)
        if self.enclosure is not None:
            try:
                self.enclosure.share()
            except Exception:
                log.exception("Worker %s: the isolation could not be set up for all its horses", self.name)

    def _close_stable(self) -> None:
        if self._stable is not None:
            self._stable.close()
            self._stable = None

    def _waiting_horse(self) -> Horse | None:
        """The horse at hand, or the next one, if it takes a job. A horse may die idle."""
        while self._horse is not None and not self._horse.takes_another():
            self._dismiss()
        return self._horse

    def _dismiss(self, *, killed: bool = False) -> None:
        """``killed``: it has a job, which it must not begin."""
        assert self._horse is not None
        if killed:
            self._horse.kill()
        self._horse.let_go()
        self._leaving.append(self._horse)
        self._horse, self._next_horse = self._next_horse, None

    def _part(self) -> None:
        """Wait for the end of the horses that were let go, and end what their jobs left running."""
        while self._leaving:
            horse = self._leaving.pop()
            self.bounds.over(horse.part())
            if horse.folder is not None:
                self._left_folders.append(horse.folder)

    def _tidy(self) -> None:
        """Say what was done, and remove what parted horses left: nobody waits for that."""
        self.say_done()
        while self._left_folders and self.enclosure:
            self.enclosure.part(self._left_folders.pop())

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Until the job is over or the horse dead, as os.wait4 says it."""
        assert self._horse is not None
        try:
            ended = self._horse.wait(REPORT_AFTER, self.claim_ahead)
        except TimeoutError:
            assert self.lease is not None
            self.report("busy", self.lease.job_id, ProcessId.of(self.horse_pid))
            ended = self._wait_within_bounds(self._horse)
        signal.alarm(0)  # rq's, for the next heartbeat: what follows must not be torn
        if ended is None:
            return self.horse_pid, os.EX_OK, None
        self.bounds.over(ended.status)
        return self.horse_pid, ended.status, ended.usage

    def _wait_within_bounds(self, horse: Horse) -> Ended | None:
        while True:
            if self.bounds.broken():
                log.warning("Worker %s: job killed. %s", self.name, self.bounds.why)
                horse.kill()
                return horse.last_word()
            with contextlib.suppress(TimeoutError):
                return horse.wait(self.bounds.patience(), self.claim_ahead)

    def reap_spent_horse(self) -> None:
        """Part with a horse that has had its last job, or is dead; nobody waits for that while there are jobs."""
        if self._horse is not None and self._horse.finished:
            self._dismiss()
        self._part()
        self._tidy()

    def dismiss_horses(self) -> None:
        while self._horse is not None:
            self._dismiss()
        self._part()
        self._tidy()
        self._close_stable()
        if self.enclosure is not None:
            self.enclosure.close()

    def _serve(self, line: Line, folder: str) -> None:
        """In the horse, which never outlives its worker: it would run beside the next attempt."""
        if self.enclosure is not None:
            self._enclose(self.enclosure, folder)
        random.seed()
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]
        self._is_horse, self.log = True, HORSE_LOG
        os.environ["RQ_WORKER_ID"] = self.name
        try:
            connection.warm(self.connection)
            self._line = line
            while told := line.next(done=self._done):
                job, queue = self._taken(*told)
                assert self.lease is not None
                os.environ["RQ_JOB_ID"] = job.id
                self._explained, self._done = "", False
                if not line.begins():
                    break
                self.perform_job(job, queue, self.lease)
                if self._explained:  # what met a limit may still hold it: the next job begins anew
                    break
            os._exit(os.EX_OK)
        except:  # noqa: E722  # as rq: whatever it is, the worker sees that the horse failed
            os._exit(1)

    def give_back(self) -> None:
        """The job that was claimed ahead, if there is one. Raises redis errors."""
        if self._reached_ahead:
            self.claims.release(self.idle_connection)
            self._ahead, self._reached_ahead = None, False

    def _enclose(self, enclosure: Enclosure, folder: str) -> None:
        try:
            enclosure.folder = Folder.at(folder)
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
            self.give_back()
            super().maintain_heartbeats(job, execution)
        except UNAVAILABLE as error:
            log.warning("Worker %s: Redis is away, job %s goes on: %s", self.name, job.id, error)
        finally:
            self.connection = client
