"""Operations as RQ jobs on the console's own queue."""

import django_rq
from rq.exceptions import DuplicateJobError

from pools.broker.connection import get_broker
from pools.models import OutboxMessage

QUEUE = "console"
RUN_OPERATION = "pools.operations.execute.run_operation"


def job_prefix(operation_id: int | str) -> str:
    """What the ids of an operation's jobs begin with. Each message about it makes one job at most."""
    return f"operation-{operation_id}-"


def enqueue_operation(message: OutboxMessage) -> None:
    """Enqueue the job that carries on operation ``message.key``. A repeat of the message does nothing.

    Raises BrokerUnavailable.
    """
    job_id = f"{job_prefix(message.key)}{message.pk}"
    with get_broker(message.broker).use() as client:
        queue = django_rq.get_queue(QUEUE, connection=client, commit_mode="auto")  # now: the relay marks it next
        try:
            queue.enqueue(RUN_OPERATION, int(message.key), job_id=job_id, unique=True)
        except DuplicateJobError:
            return
