"""One round of repair, in a process of its own: jobs of lost workers, then rq's own clean-up of registries.

It runs where the pool's jobs run, and never in the agent or the console: rq's clean-up unpickles job records and
calls failure callbacks of the application.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rq import worker_registration
from rq.exceptions import NoSuchJobError
from rq.group import Group
from rq.intermediate_queue import IntermediateQueue
from rq.job import JobStatus
from rq.queue import Queue
from rq.rate_limit import release_slot
from rq.registry import clean_registries
from rq.worker import Worker

from pools.runtime import delivery, fallback, idempotency
from pools.runtime.claims import Claims
from pools.runtime.connection import UNAVAILABLE
from pools.runtime.keys import Keys
from pools.runtime.reaper import reap, reap_expired
from pools.runtime.worker import PoolWorker
from pools.runtime.worker_config import Lost

log = logging.getLogger("rq.worker")


def recover(worker: PoolWorker, lost: Lost) -> None:
    """Decide what a dead worker held, unless its agent has done so already, and have rq forget the worker.

    ``worker`` carries the dead worker's name. May be repeated. Damage keeps nothing else from being repaired: what it
    ran and could not be decided, the lease decides. Raises UNAVAILABLE.
    """
    _attempt(f"worker {lost.worker}", partial(_recover, worker, lost))


def _recover(worker: PoolWorker, lost: Lost) -> None:
    reap(worker.connection, worker.claims.keys, worker.order(lost), worker.identity.signature)
    worker.refresh()  # type: ignore[no-untyped-call]  # its queues, so that it leaves their sets of workers too
    worker.register_death()  # type: ignore[no-untyped-call]


def settle(worker: PoolWorker) -> None:
    """What rq does after a failure has committed, for jobs that a reaper failed: their dependents, their rate limit."""
    connection: Any = worker.connection
    for queue in worker.queues:
        key = worker.claims.keys.unsettled(queue.name)
        for job_id in (member.decode() for member in connection.smembers(key)):
            _attempt(f"job {job_id}", partial(_settle_job, worker, queue, job_id))
            connection.srem(key, job_id)


def _settle_job(worker: PoolWorker, queue: Queue, job_id: str) -> None:
    try:
        job = worker.job_class.fetch(job_id, worker.connection, worker.serializer)
    except NoSuchJobError:
        return
    if job.get_status(refresh=False) == JobStatus.FAILED:
        queue.enqueue_dependents(job)
        release_slot(job)


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
        _redeliver_expired(worker, queue)
        clean_registries(queue)
        worker_registration.clean_worker_registry(queue)
        _UnclaimedJobs(queue.key, queue.connection, worker.claims.keys).cleanup(worker, queue)
    finally:
        queue.release_maintenance_lock()  # type: ignore[no-untyped-call]  # rq keeps it for 15 minutes when a clean-up raises


def _redeliver_expired(worker: PoolWorker, queue: Queue) -> None:
    """Runs whose lease has ended, and that our policies decide: rq's clean-up, which comes next, would fail them."""
    keys = worker.claims.keys
    connection: Any = worker.connection
    for execution in connection.zrange(queue.started_job_registry.key, "-inf", time.time(), byscore=True):
        job_key = worker.job_class.key_for(execution.partition(b":")[0].decode(errors="surrogateescape"))
        told, *ours, name = connection.hmget(job_key, delivery.FIELD, idempotency.DIGEST, fallback.FIELD, "worker_name")
        if int(told or 0) or any(ours):
            lost = Lost((name or b"").decode(), f"Worker {(name or b'').decode()} fell silent while it ran this job.")
            reap_expired(connection, keys, worker.order(lost), execution, worker.identity.signature)


def _release_forgotten(connection: Any, keys: Keys) -> None:
    """What workers took whose agent died with them: rq's own key of a live worker never expires."""
    for name in {field.decode() for field in [*connection.hkeys(keys.claims), *connection.hkeys(keys.holds)]}:
        if not connection.exists(Worker.redis_worker_namespace_prefix + name):
            Claims(keys, name).release(connection)


def _attempt(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except UNAVAILABLE:
        raise  # the whole round is tried again
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
