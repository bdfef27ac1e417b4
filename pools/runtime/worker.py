"""An rq Worker that an agent runs: rq's job and horse code, with its own way to take jobs, wait and stop.

What differs from rq.Worker, and why, is listed in docs/rq-3.md; tests/runtime/test_rq_contract.py holds rq to it.
"""

import contextlib
import logging
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any, cast

from rq import worker_registration
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.results import Result
from rq.utils import now, utcformat
from rq.worker import WorkerStatus

from pools.runtime import clock, events
from pools.runtime.admitted_job import record
from pools.runtime.bounds import Bounds
from pools.runtime.channel import Channel, Status
from pools.runtime.claims import encoded
from pools.runtime.connection import UNAVAILABLE
from pools.runtime.job import PoolJob
from pools.runtime.processes import ProcessId
from pools.runtime.refusals import JobRefused, as_refusal
from pools.runtime.sandbox.enclosure import Enclosure
from pools.runtime.sandbox.meter import Meter
from pools.runtime.sandboxed import Sandbox
from pools.runtime.strict import StrictLife

log = logging.getLogger("rq.worker")

# How often an idle worker looks for work unless its agent wakes it: soon after a job or a ring, then less and less
# often. One script call, about 10 µs in Redis.
FIRST_WAIT, LONGEST_WAIT = 0.01, 4.0
# How often it looks whether it is to stop or to pause.
HEARING_SECONDS = 0.2
HEARTBEAT_SECONDS = 10.0
# How often a running job's lease is renewed (it lasts a minute longer); a dead host is told by two missing renewals.
LEASE_RENEWAL_SECONDS = 5
# Seconds after which rq and its dashboards believe a silent idle worker dead (rq adds 60).
WORKER_TTL = 60
# No status: no record, or what a late heartbeat left of one. A status that rq does not know is damage.
NOT_WAITING = {status.value.encode() for status in JobStatus if status != JobStatus.QUEUED} | {b""}


class PoolWorker(StrictLife):
    """``connection`` is patient (a job's life), ``idle_connection`` impatient (waiting for work, saying goodbye).

    ``stop_requested`` tells whether the agent asked the worker to end once its job is done; ``rung`` waits so many
    seconds for its bell, and tells whether it rang for this worker.
    """

    log_result_lifespan = False  # each job's record says it

    def __init__(
        self,
        queues: list[str],
        *,
        job_class: type[PoolJob],
        connection: Any,
        idle_connection: Any,
        channel: Channel,
        stop_requested: Callable[[], bool],
        rung: Callable[[float], bool],
        horse_jobs: int = 1,
        enclosure: Enclosure | None = None,
        sandbox: Sandbox | None = None,
        **options: Any,
    ) -> None:
        self.channel = channel
        self.idle_connection = idle_connection
        self.stop_requested = stop_requested
        self.rung = rung
        self.identity = job_class.identity
        self.claims = job_class.claims
        self.process = ProcessId.of(os.getpid())
        self._next_heartbeat = 0.0
        self._reported = ""
        self._paused = False
        self._clock_fault = ""
        self.ended_as_asked = self.said_goodbye = False
        self.horse_jobs, self.enclosure = horse_jobs, enclosure
        self.meter = Meter(enclosure.isolation) if enclosure else None
        self.bounds, self.sandbox = Bounds(self.meter), sandbox
        self._leaving, self._left_folders, self._unsaid = [], [], []
        self.job_class: type[PoolJob]
        super().__init__(
            list(queues),
            name=self.identity.worker,
            connection=connection,
            job_class=job_class,
            worker_ttl=WORKER_TTL,
            log_job_description=False,  # descriptions show arguments
            **options,
        )

    # What rq does in the worker's loop, and an agent does in its place: maintenance, suspension, commands, signals.

    def _set_connection(self, connection: Any) -> Any:
        """rq sets a socket timeout to outlast its blocking commands; there are none here."""
        return connection

    @property
    def should_run_maintenance_tasks(self) -> bool:
        return False

    def check_for_suspension(self, burst: bool) -> None:
        """``rq suspend`` is obeyed inside the claim, where no job can slip through."""

    def subscribe(self) -> None:
        """No commands over pubsub: anyone who can publish could send them, and none is ever acknowledged."""

    def _install_signal_handlers(self) -> None:
        """The launcher's handlers stay: each SIGTERM only asks to stop, and never kills the horse."""

    # Waiting for work.

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """The next job, once there is one. None when the worker should end."""
        wait = FIRST_WAIT
        while self._may_go_on():
            paused = self._paused
            try:
                found = self._next()
                if not found:
                    self.reap_spent_horse()
                    self._say_idle("paused" if paused else "idle")
            except UNAVAILABLE as error:
                log.warning("Worker %s: Redis is away: %s", self.name, error)
                found, wait = None, 1.0
            if found:
                return found
            wait = FIRST_WAIT if self._rest(wait) else min(wait * 4, LONGEST_WAIT)
        self.ended_as_asked = True
        return None

    def _rest(self, seconds: float) -> bool:
        """Wait; a little less, by lot, so that workers do not look all at once. True at once on a ring or a resume."""
        until, paused = time.monotonic() + seconds * random.uniform(0.75, 1), self._paused  # noqa: S311
        while (left := until - time.monotonic()) > 0 and self._may_go_on():
            if self._paused != paused or self.rung(min(left, HEARING_SECONDS)):
                return True
        return False

    def _may_go_on(self) -> bool:
        if self.stop_requested():
            return False
        control = self.channel.control()
        if control is None:
            log.warning("Worker %s: given up by its agent; stopping", self.name)
            return False
        if self._clock_fault:
            log.error("Worker %s stops: %s", self.name, self._clock_fault)
            return False
        self._paused = control.paused
        self.identity.config = control.config
        self.claims.wishes = control.breakers
        return True

    def _say_idle(self, state: str) -> None:
        if state != self._reported:
            self.report(state)
            self._next_heartbeat = 0.0
        if time.monotonic() < self._next_heartbeat:
            return
        self._state = WorkerStatus.SUSPENDED if state == "paused" else WorkerStatus.IDLE
        self.last_heartbeat = now()
        with self.idle_connection.pipeline() as pipeline:
            # All of it each time: a broker that lost its data gets its workers back.
            pipeline.hset(self.key, mapping=self.serialize() | {"state": self._state})
            pipeline.expire(self.key, WORKER_TTL + 60)
            worker_registration.register(self, pipeline)
            pipeline.time()
            asked = time.time()
            self._clock_fault = clock.fault(asked, pipeline.execute()[-1])
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS

    def _next(self) -> tuple[Job, Queue] | None:
        """The job that was claimed ahead, else one that is claimed now; none while paused. Raises redis errors."""
        if self._paused:
            self.give_back()
            return None
        ahead, self._ahead, self._reached_ahead = self._ahead, None, False
        return ahead or self._claim()

    def claim_ahead(self) -> None:
        """Claim the next job while the horse writes the end of its own, and prepare its start, so that it begins at
        once.

        Not where gates count what a worker runs. Should the end take long, the job is given back.
        """
        control = self.channel.control()
        may = self.claims.rules.plain and not self.stop_requested() and control is not None and not control.paused
        if self._reached_ahead or not may:
            return
        alarm = signal.alarm(0)  # rq's, for the next heartbeat: what follows must not be torn
        self._reached_ahead = True  # until an answer says otherwise
        try:
            self._ahead = self._claim()
            self._reached_ahead = self._ahead is not None
            if self._ahead is not None:
                self.prepare(*self._ahead)
        except Exception as error:  # the job at its end is not to suffer; the next one's own turn tells it again
            log.warning("Worker %s: no job was claimed ahead: %s", self.name, error)
        finally:
            signal.alarm(alarm)

    def _claim(self) -> tuple[PoolJob, Queue] | None:
        while found := self.claims.take(self.idle_connection, self.queues):
            queue, job_id = next(queue for queue in self.queues if queue.name == found.queue), found.job_id
            try:
                raw = record(found.record, self.job_class.admission)
                misread = self.claims.misread(found, raw)
            except JobRefused as refusal:
                self._bury(queue, job_id, refusal)
                return None
            if not misread:
                return self._accept(queue, job_id, raw)
            self.claims.correct(self.idle_connection, queue, found, misread)
        return None

    def _accept(self, queue: Queue, job_id: str, raw: Any) -> tuple[PoolJob, Queue] | None:
        # Expired or deleted while it waited (rq passes over such ids silently, too), or the second entry of a job that
        # was pushed twice: its producer's client never heard that the first push was done.
        if (raw.get(b"status") or (b"queued" if b"data" in raw else b"")) in NOT_WAITING:
            self.claims.acknowledge(self.idle_connection, queue, job_id)
            return None
        job = None
        try:
            job = self.job_class(job_id, connection=self.connection, serializer=self.serializer)
            job.admit(raw)
        except Exception as error:  # a damaged record raises anything, and must not end worker after worker
            self._bury(queue, job_id, as_refusal("record", error), unsettled=job is not None and job.restored)
            return None
        job.claimed_from, job.raw = queue, raw
        return job, queue

    def _bury(self, queue: Queue, job_id: str, refusal: JobRefused, *, unsettled: bool = False) -> None:
        """Fail a job that shall not be run, without reading it: the writes of rq's failure path, field by field.

        Whatever lies under its keys: a write that fails keeps none of the others from being done. ``unsettled``: upkeep
        sees to its dependents and its slot of a rate limit, for which it reads it.
        """
        log.error("Worker %s: job %s is refused: %s", self.name, job_id, refusal)
        raw_id, ttl = encoded(job_id), self.job_class.policy.failure_ttl
        key, results = (encoded(key) for key in (self.job_class.key_for(job_id), Result.get_key(job_id)))  # type: ignore[no-untyped-call]
        text = "".join(traceback.format_exception_only(refusal))
        result = Result(job_id, Result.Type.FAILED, self.connection, exc_string=text, worker_name=self.name)
        with self.idle_connection.pipeline() as pipeline:
            pipeline.hset(key, mapping={"status": JobStatus.FAILED.value, "ended_at": utcformat(now())})
            pipeline.expire(key, ttl)
            pipeline.zadd(queue.failed_job_registry.key, {raw_id: int(time.time()) + ttl})
            pipeline.xadd(results, result.serialize(), maxlen=10)
            pipeline.expire(results, ttl)
            body = self.identity.failure(job_id, queue.name)
            events.append(pipeline, self.claims.keys.events, "job.failed", body)
            if unsettled:
                pipeline.sadd(self.claims.keys.unsettled(queue.name), raw_id)
            self.claims.acknowledge(pipeline, queue, job_id)
            pipeline.execute(raise_on_error=False)

    # A job's life: see job_life.py.

    def cleanup_execution(self, job: Job, pipeline: Any, execution: Execution | None = None) -> None:
        super().cleanup_execution(job, pipeline, execution)
        if not self.is_horse and execution is not self.lease:  # a job that upkeep ends may never have been started
            cast(PoolJob, job).acknowledge(pipeline)

    # The end.

    def teardown(self) -> None:
        """Give back what was claimed and not begun, and say goodbye. If Redis does not hear it, upkeep does both."""
        self.connection = self.idle_connection
        try:
            if not self.is_horse:
                self.dismiss_horses()
                if self.sandbox is not None:
                    self.sandbox.close()
                self.claims.release(self.connection)
            super().teardown()  # type: ignore[no-untyped-call]
            self.said_goodbye = True
        except UNAVAILABLE as error:
            log.warning("Worker %s: stopped while Redis is away: %s", self.name, error)

    def report(self, state: str, job_id: str | None = None, horse: ProcessId | None = None) -> None:
        """A full disk, or a folder that the agent took away, is no reason to end a job."""
        self._reported = state
        if self.process is not None:
            with contextlib.suppress(OSError):
                self.channel.report(Status(state, self.process, job_id, horse))
