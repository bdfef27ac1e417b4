"""Operations as jobs on the console's own queue."""

from pools.broker.connection import get_broker
from pools.broker.console_queue import enqueue_once
from pools.models import OutboxMessage

RUN_OPERATION = "pools.operations.execute.run_operation"


def job_prefix(operation_id: int | str) -> str:
    """What the ids of an operation's jobs begin with. Each message about it makes one job at most."""
    return f"operation-{operation_id}-"


def enqueue_operation(message: OutboxMessage) -> None:
    """Enqueue the job that carries on operation ``message.key``; a repeat does nothing. Raises BrokerUnavailable."""
    job_id = f"{job_prefix(message.key)}{message.pk}"
    enqueue_once(get_broker(message.broker), RUN_OPERATION, int(message.key), job_id)
