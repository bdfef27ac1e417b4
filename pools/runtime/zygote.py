"""In the sandbox of profile *strict*: load the application once, then fork a horse for each job, without Redis.

It has one socket, to its worker. Down come its config and, for each job, one descriptor, over which the job's horse and
the worker speak; up goes, when that horse and all that it started are gone, the horse's wait status.
"""

import contextlib
import gc
import json
import logging
import marshal
import os
import random
import signal
import socket
import struct
import sys
import time
from typing import Any

from rq.callbacks import execute_failure_callback, execute_success_callback
from rq.defaults import RQ_KEY_PREFIX, UNSERIALIZABLE_RETURN_VALUE_PAYLOAD
from rq.job import JobStatus, Retry
from rq.job_lifecycle import format_exc_info
from rq.serializers import resolve_serializer
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty

from pools.runtime.application import preload
from pools.runtime.identity import Identity
from pools.runtime.job import Policy, PoolJob
from pools.runtime.keys import Keys
from pools.runtime.refusals import serializer_for
from pools.runtime.retry import exception_name, exception_names
from pools.runtime.sandbox import egress, system
from pools.runtime.sandbox.enclosure import NOT_ENCLOSED, Enclosure
from pools.runtime.sandbox.folder import Folder
from pools.runtime.worker_config import WorkerConfig

STATUS = struct.Struct("i")
LENGTH_BYTES = 4
READY = b"r"
# Of what a job returns, as it is stored, and of the words around it.
LARGEST_RESULT, LARGEST_HEAD = 64 * 1024 * 1024, 4 * 1024 * 1024

log = logging.getLogger("rq.worker")


class NoRedisInStrict(Exception):
    """A job asked for what only Redis knows, or takes."""

    __module__ = "poolwarden"


class NoConnection:
    """What a job in the sandbox has for a connection."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NoRedisInStrict(f"isolation profile strict: a job has no connection to Redis ({name} was asked for)")


def main(fd: int) -> None:
    """Never returns."""
    control = socket.socket(fileno=fd)
    config = WorkerConfig.loads(_read(control).decode())
    with contextlib.suppress(OSError):
        system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    time.strptime("1", "%d")  # Python loads what that needs now, and not in each horse
    way_out = [egress.listener()] if config.isolation.egress else []
    if way_out:
        os.environ |= egress.environment()
    preload(config.preload)
    serve = _Jobs(config)
    system.prctl(system.PR_SET_DUMPABLE, 0)
    gc.freeze()
    socket.send_fds(control, [READY], [one.fileno() for one in way_out])
    for one in way_out:
        one.close()
    while True:
        _, given, _, _ = socket.recv_fds(control, 1, 1)
        if not given:
            os._exit(0)  # the worker is gone
        pid = os.fork()
        if pid == 0:
            control.close()
            serve.run(socket.socket(fileno=given[0]))
        os.close(given[0])
        _, status = os.waitpid(pid, 0)
        _end_all()
        control.sendall(STATUS.pack(status))


def _end_all() -> None:
    """Kill all that is left in this process namespace: whatever a job started, in whatever session it hides."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


class _Jobs:
    def __init__(self, config: WorkerConfig) -> None:
        self._isolation = config.isolation
        identity = Identity.of(config)
        self._job_class = PoolJob.bind(keys=Keys(RQ_KEY_PREFIX), identity=identity, policy=Policy.of(config))
        self._serializer = resolve_serializer(serializer_for(config.admission, config.serializer))
        self._enclosure = Enclosure(config.isolation, config.worker, os.getuid(), os.getgid(), namespace=True)

    def run(self, line: socket.socket) -> None:
        """In the child. Never returns."""
        try:
            os.setsid()
            line.sendall(READY)
            folder = _read(line).decode()
        except BaseException:
            os._exit(1)
        try:
            self._enclosure.folder = Folder.at(folder)
            self._enclosure.enter()
        except BaseException:
            log.exception("The isolation could not be set up")
            os._exit(NOT_ENCLOSED)
        try:
            job_id, raw, worker = marshal.loads(_read(line))  # noqa: S302  # from the worker itself
            random.seed()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.environ |= {"RQ_WORKER_ID": worker, "RQ_JOB_ID": job_id}
            job = self._job_class(job_id, connection=NoConnection(), serializer=self._serializer)  # type: ignore[arg-type]
            job.restore(raw)
            job.worker_name, job._status, job._in_horse = worker, JobStatus.STARTED, True
            head, result = self._outcome(job)
            packed = json.dumps(head).encode()
            line.sendall(b"".join((len(packed).to_bytes(LENGTH_BYTES), len(result).to_bytes(LENGTH_BYTES))))
            line.sendall(packed + result)
            sys.stdout.flush()
            os._exit(os.EX_OK)
        except BaseException:
            os._exit(1)

    def _outcome(self, job: PoolJob) -> tuple[dict[str, Any], bytes]:
        """What became of it, for the worker, which takes no object of it."""
        try:
            job.examine_all()
            penalty: Any = UnixSignalDeathPenalty
            with penalty(job.timeout, JobTimeoutException, job_id=job.id):
                value = job.perform()
            if isinstance(value, Retry):
                again = {"max": value.max, "intervals": value.intervals, "front": value.enqueue_at_front}
                return {"end": "retry", **again}, self._meta(job)
            job._status = JobStatus.FINISHED
            execute_success_callback(job, UnixSignalDeathPenalty, value)
            return {"end": "success", "none": value is None}, self._packed(value)
        except BaseException:
            return self._failure(job, sys.exc_info()), self._meta(job)

    def _meta(self, job: PoolJob) -> bytes:
        """What the job has put into its meta, which rq stores with a retry; empty for none."""
        try:
            packed: bytes = job._serialize_meta() if job.meta else b""
        except Exception:
            log.exception("Job %s: its meta cannot be stored, and stays as it was", job.id)
            return b""
        return packed

    def _packed(self, value: Any) -> bytes:
        try:
            packed: bytes = self._serializer.dumps(value)
        except Exception:  # as rq
            packed = self._serializer.dumps(UNSERIALIZABLE_RETURN_VALUE_PAYLOAD)
        if len(packed) > LARGEST_RESULT:
            raise ValueError(f"the job returned more than {LARGEST_RESULT >> 20} MiB")
        return packed

    def _failure(self, job: PoolJob, exc_info: Any) -> dict[str, Any]:
        exc_info = job.note_refusal(exc_info)
        kind, names = exception_name(exc_info[0]), sorted(exception_names(exc_info[0]))
        explained = self._isolation.explain(exc_info[1])
        job._status = JobStatus.FAILED
        try:
            execute_failure_callback(job, UnixSignalDeathPenalty, *exc_info)
        except BaseException:  # as rq: it replaces the job's
            exc_info = sys.exc_info()
        text = format_exc_info(exc_info)[-LARGEST_HEAD // 8 :]
        told = {"kind": kind, "names": names, "text": text, "explained": explained}
        return {"end": "failure", "refused": job.refused, **told}


def _read(line: socket.socket) -> bytes:
    """One message that the worker sent."""
    with line.makefile("rb", buffering=0) as file:
        return _exactly(file, int.from_bytes(_exactly(file, LENGTH_BYTES)))


def _exactly(file: Any, size: int) -> bytes:
    parts = []
    while size:
        part = file.read(size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
