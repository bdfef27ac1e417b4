"""A job's life under isolation profile *strict*: it runs in the sandbox, and its worker writes its start and its end.

The worker loads no pickle and calls none of the application's code: what a job returned it passes on as it is.
"""

import contextlib
import json
import logging
import pickletools
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any, cast

from rq.executions import Execution
from rq.job import Job, JobStatus, Retry
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now

from pools.runtime.job import Failure, PoolJob
from pools.runtime.job_end import HORSE_LOG
from pools.runtime.job_life import REPORT_AFTER, JobLife
from pools.runtime.processes import ProcessId
from pools.runtime.sandboxed import Sandbox, SandboxedHorse, SandboxError

log = logging.getLogger("rq.worker")

LONGEST_WAIT = 30 * 86_400  # seconds, of a retry that a job asked for


# The parts of a pickle of texts, numbers, lists and their like, as Python 3 writes it.
DATA = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
        *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET", "ADDITEMS", "FROZENSET"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    }
)


@dataclass(frozen=True)
class Packed:
    """What a job returned, as it is stored."""

    raw: bytes


class PassingOn:
    """A serializer that leaves what is packed as it is."""

    def __init__(self, serializer: Any) -> None:
        self._serializer = serializer

    def dumps(self, value: Any, *args: Any, **options: Any) -> Any:
        return value.raw if isinstance(value, Packed) else self._serializer.dumps(value, *args, **options)

    def loads(self, data: Any, *args: Any, **options: Any) -> Any:
        return self._serializer.loads(data, *args, **options)


class StrictLife(JobLife):
    """The part of PoolWorker that has a job in its sandbox; without one it does nothing."""

    sandbox: Sandbox | None
    _sandboxed: SandboxedHorse | None = None
    _next_sandboxed: SandboxedHorse | None = None

    def execute_job(self, job: Job, queue: Queue) -> None:
        if self.sandbox is None:
            super().execute_job(job, queue)
            return
        execution = self._start(cast(PoolJob, job), queue)
        if execution is None:
            return
        pooled, horse, told = cast(PoolJob, job), None, None
        pooled.elsewhere = True
        try:
            pooled.note_policy()
        except Exception:
            self._as_horse(self._finalize_failure, job, queue, execution, sys.exc_info())
            return
        try:
            horse = self._given(self.sandbox, pooled)
        except (SandboxError, OSError) as error:
            log.error("Worker %s: %s", self.name, error)
            self.bounds.why = f"IsolationError: it was not run, as {error}."
        if horse is not None:
            told = self._watched(horse, job, execution)
            self._let_go(self.sandbox, horse)
        self._horse_pid = 0
        self.executions.pop(execution.id, None)
        if told is not None and not self.bounds.why:
            self._done = False
            self._as_horse(self._conclude, pooled, queue, execution, *told)
            if self._done:
                self.note_done(job)
                self.say_done()
            return
        job.ended_at = now()
        text = "Work-horse terminated unexpectedly"
        log.warning("Worker %s: job %s failed (%s)", self.name, job.id, self.bounds.why or text)
        self.handle_job_failure(job, queue=queue, exc_string=text, execution=execution)

    def _given(self, sandbox: Sandbox, job: PoolJob) -> SandboxedHorse:
        """A horse that has the job. Raises SandboxError, OSError: then nobody has it."""
        assert self.meter is not None
        self.reap_spent_horse()
        if not sandbox.alive:
            self._close_sandbox()
            sandbox.start()
            for pid in sandbox.pids:
                self.meter.spare(pid)
        self.meter.root = sandbox.pid
        self._next_sandboxed = horse = self._next_sandboxed or self._asked(sandbox)
        try:
            horse.meet()
        except SandboxError:
            self._close_sandbox()
            raise
        self._sandboxed, self._next_sandboxed = horse, None
        self.bounds.begin(job.timeout or 0, horse.pid, horse.folder)
        self._horse_pid, job.started_at = horse.pid, now()
        horse.send((job.id, job.raw, self.name))
        return horse

    def _asked(self, sandbox: Sandbox) -> SandboxedHorse:
        """Raises SandboxError, OSError."""
        assert self.enclosure is not None
        folder = self.enclosure.prepare()
        try:
            return sandbox.fork(folder)
        except (SandboxError, OSError):
            folder.remove()
            raise

    def _let_go(self, sandbox: Sandbox, horse: SandboxedHorse) -> None:
        """Its job is over. While that is written the next one is made; a dead one tells why it died."""
        if horse.outcome is None:
            self.reap_spent_horse()
            return
        with contextlib.suppress(SandboxError, OSError):  # its own turn will tell
            self._next_sandboxed = self._asked(sandbox)

    def _close_sandbox(self) -> None:
        """It is started anew for the next job."""
        assert self.sandbox is not None
        if self._next_sandboxed is not None:
            self._next_sandboxed.close()
            self._next_sandboxed.folder.remove()
            self._next_sandboxed = None
        self.sandbox.end()

    def reap_spent_horse(self) -> None:
        super().reap_spent_horse()
        if self._sandboxed is not None:
            horse, self._sandboxed = self._sandboxed, None
            status = horse.reap()
            if status is None:
                self._close_sandbox()
                status = int(signal.SIGKILL)
            elif self.sandbox is not None:
                self.sandbox.end_tunnels()
            self.bounds.over(0 if horse.outcome else status)
            assert self.enclosure is not None
            self.enclosure.part(horse.folder)

    def _watched(self, horse: SandboxedHorse, job: Job, execution: Execution) -> tuple[dict[str, Any], bytes] | None:
        """What became of it; None when it died without a word, or was ended: then ``bounds.why`` says why."""
        began = time.monotonic()
        beat, tell = began + self.job_monitoring_interval, began + REPORT_AFTER
        while True:
            if self.bounds.broken():
                log.warning("Worker %s: job killed. %s", self.name, self.bounds.why)
                horse.kill()
            moment = time.monotonic()
            if moment >= tell:
                tell = float("inf")
                self.report("busy", job.id, ProcessId.of(horse.pid))
            if moment >= beat:
                beat = moment + self.job_monitoring_interval
                self.maintain_heartbeats(job, execution)
            waits = [min(beat, tell) - moment, *([] if self.bounds.why else [self.bounds.patience()])]
            if horse.wait(max(0.0, min(wait for wait in waits if wait is not None))):
                return horse.outcome

    def _as_horse(self, step: Any, *args: Any) -> None:
        """What a horse does under the other profiles: the end that a job came to by itself."""
        self._is_horse, self.log = True, HORSE_LOG
        try:
            step(*args)
        finally:
            self._is_horse, self.log = False, log

    def _conclude(self, job: PoolJob, queue: Queue, execution: Execution, told: dict[str, Any], result: bytes) -> None:
        if result and told.get("end") != "success":
            if len(result) <= self.job_class.admission.job_kib * 1024 and _is_data(result):
                job.take_meta(result)
            else:
                why = "it is too large, or more than data"
                log.warning("Worker %s: the meta of job %s is not stored: %s", self.name, job.id, why)
        if told.get("end") == "failure":
            self._failed(job, queue, execution, told)
            return
        try:
            value = _retry(told) if told.get("end") == "retry" else self._value(job, told, result)
            self._finalize_success(job, queue, execution, value)
        except Exception:
            self._finalize_failure(job, queue, execution, sys.exc_info())

    def _value(self, job: PoolJob, told: dict[str, Any], result: bytes) -> Any:
        if told.get("none"):
            return None
        if self.serializer is JSONSerializer:
            return json.loads(result)
        job.serializer = PassingOn(job.serializer)
        return Packed(result)

    def _failed(self, job: PoolJob, queue: Queue, execution: Execution, told: dict[str, Any]) -> None:
        job._status, job.refused = JobStatus.FAILED, told.get("refused") is True
        self.handle_execution_ended(job, queue, 0)
        names = frozenset(map(str, told.get("names") or ()))
        job.failure = Failure(kind=str(told.get("kind", "")), names=names)
        self._explained, text = str(told.get("explained", "")), str(told.get("text", ""))
        log.error("Worker %s: job %s failed\n%s", self.name, job.id, text)
        self.handle_job_failure(job, queue=queue, exc_string=text, execution=execution)


def _is_data(meta: bytes) -> bool:
    """Whether nothing is imported or called by whoever loads it: RQ loads a job's meta as soon as it reads the job."""
    try:
        if not meta.startswith(b"\x80"):
            return isinstance(json.loads(meta), dict)
        return all(code.name in DATA for code, _, _ in pickletools.genops(meta))
    except (ValueError, RecursionError):
        return False


def _retry(told: dict[str, Any]) -> Retry:
    """Raises ValueError and TypeError on what no Retry is."""
    most, intervals = int(told["max"]), [int(seconds) for seconds in told["intervals"]]
    if not intervals or max(intervals) > LONGEST_WAIT:
        raise ValueError("the job asked for a retry that is too far off")
    return Retry(most, intervals, bool(told.get("front")))
