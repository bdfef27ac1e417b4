"""The console's own jobs: enqueued through django-rq, like any application's."""

import django_rq
from rq.exceptions import DuplicateJobError

from pools.broker.connection import Broker

QUEUE = "console"


def enqueue_once(broker: Broker, function: str, argument: int, job_id: str) -> bool:
    """Enqueue ``function(argument)`` on the console's queue; False when a job of this id is there already.

    Raises BrokerUnavailable.
    """
    with broker.use() as client:
        # Now, not at a commit: the caller marks it as done next.
        queue = django_rq.get_queue(QUEUE, connection=client, commit_mode="auto")
        try:
            queue.enqueue(function, argument, job_id=job_id, unique=True)
        except DuplicateJobError:
            return False
    return True
