"""One round of repair, in a process of its own: jobs of lost workers, then rq's own clean-up of registries.

It runs where the pool's jobs run, and never in the agent or the console: rq's clean-up unpickles job records and
calls failure callbacks of the application.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from rq import worker_registration
from rq.exceptions import NoSuchJobError
from rq.executions import Execution
from rq.group import Group
from rq.intermediate_queue import IntermediateQueue
from rq.job import JobStatus
from rq.queue import Queue
from rq.registry import clean_registries
from rq.utils import now
from rq.worker import Worker

from pools.runtime.claims import Claims
from pools.runtime.job import PoolJob
from pools.runtime.keys import Keys
from pools.runtime.worker import PoolWorker
from pools.runtime.worker_config import Lost

log = logging.getLogger("rq.worker")


def recover(worker: PoolWorker, lost: Lost) -> None:
    """Settle what a dead worker held: a claimed job goes back to its queue, a running one ends as rq ends failures.

    ``worker`` carries the dead worker's name. May be repeated. Raises redis errors.
    """
    released = worker.claims.release(worker.connection)
    if released:
        log.warning("Job %s goes back to its queue: worker %s was lost before it started it", released, lost.worker)
    for execution in worker.get_current_executions(refresh=True):
        _end(worker, execution, lost.why)
    worker.refresh()  # type: ignore[no-untyped-call]  # its queues, so that it leaves their sets of workers too
    worker.register_death()  # type: ignore[no-untyped-call]


def _end(worker: PoolWorker, execution: Execution, why: str) -> None:
    try:
        job = cast(PoolJob, worker.job_class.fetch(execution.job_id, worker.connection, worker.serializer))
    except NoSuchJobError:
        job = worker.job_class(execution.job_id, worker.connection, worker.serializer)
    queue = worker.queue_class(job.origin, connection=worker.connection, job_class=worker.job_class)
    if job.get_status(refresh=False) == JobStatus.STARTED:
        job.ended_at = now()
        worker.handle_job_failure(job, queue, exc_string=why, execution=execution)
        return
    with worker.connection.pipeline() as pipeline:  # it ended, or never began: only the traces of the run remain
        worker.cleanup_execution(job, pipeline, execution)
        pipeline.execute()


def tidy(worker: PoolWorker) -> None:
    """What rq's workers do every ten minutes, once for the pool. One damaged queue does not keep the others waiting."""
    _release_forgotten(worker.connection, worker.claims.keys)
    for queue in worker.queues:
        _attempt(f"queue {queue.name}", partial(_tidy_queue, worker, queue))
    _attempt("groups", lambda: Group.clean_registries(connection=worker.connection))
    worker.connection.delete(worker.key)  # rq counts the failures it finds on the worker that finds them


def _tidy_queue(worker: PoolWorker, queue: Queue) -> None:
    if not queue.acquire_maintenance_lock():
        return
    try:
        clean_registries(queue)
        worker_registration.clean_worker_registry(queue)
        _UnclaimedJobs(queue.key, queue.connection, worker.claims.keys).cleanup(worker, queue)
    finally:
        queue.release_maintenance_lock()  # type: ignore[no-untyped-call]  # rq keeps it for 15 minutes when a clean-up raises


def _release_forgotten(connection: Any, keys: Keys) -> None:
    """Claims of workers whose agent died with them: rq's own key of a live worker never expires."""
    for name in (field.decode() for field in connection.hkeys(keys.claims)):
        if not connection.exists(Worker.redis_worker_namespace_prefix + name):
            Claims(keys, name).release(connection)


def _attempt(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:  # a damaged record raises anything
        log.exception("Clean-up of %s failed", what)


class _UnclaimedJobs(IntermediateQueue):
    """rq's clean-up of the intermediate list, for what stock workers left: claimed jobs are ours to release."""

    def __init__(self, queue_key: str, connection: Any, keys: Keys) -> None:
        super().__init__(queue_key, connection)
        self._keys = keys

    def get_job_ids(self) -> list[str]:
        ids = super().get_job_ids()  # before the claims: what is claimed in between is not ours to judge
        claims: list[Any] = self.connection.hvals(self._keys.claims)
        claimed = {claim.decode().partition("\n")[2] for claim in claims}
        return [job_id for job_id in ids if job_id not in claimed]
