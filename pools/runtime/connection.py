"""Redis clients with the patience that their use needs.

redis-py gives up after 3-5 s by default. A job's bookkeeping must ride out a failover; a worker that waits for work,
and an agent, must stay able to hear a signal, so they fail fast and try again in their own loop.
"""

import os
import time
from typing import Any

from redis import ConnectionPool, Redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, TimeoutError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

# What passes by itself: the server is away, starting, or a replica by now, and its address leads to another server.
# Each is tried again on a new connection: an open one would lead to the replica for ever.
UNAVAILABLE = (ConnectionError, TimeoutError, BusyLoadingError, ReadOnlyError)

PATIENCE_SECONDS = 240.0
PAUSE_SECONDS = 0.2


class PatientPool(ConnectionPool):
    """Tries again when a connection is closed as soon as it is open: redis-py does so once, outside its retries.

    A proxy or balancer in front of a broker that is gone does that. A broker that refuses is waited for by ``connect``.
    """

    def get_connection(self, *args: Any, **options: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return super().get_connection(*args, **options)
            except UNAVAILABLE:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_SECONDS)


def patient(url: str) -> Any:
    """For the life of a job: about four minutes of tries before an error is raised.

    Without the client's name and version, without asking for notices of maintenance that only a vendor's cloud sends,
    and without a greeting for a newer protocol: four round trips that each horse's new connection would begin with.
    """
    quiet = {"driver_info": None, "maint_notifications_config": MaintNotificationsConfig(enabled=False), "protocol": 2}
    retry: Retry = Retry(ExponentialWithJitterBackoff(base=0.1, cap=2), 120, UNAVAILABLE)
    told = {"retry": retry, "retry_on_error": list(UNAVAILABLE), "socket_timeout": 10}
    return Redis.from_pool(PatientPool.from_url(url, **told, **quiet))


def lay_in(client: Any) -> None:
    """Before forks: each child finds a connection that is made, though not open. That is half of the work."""
    pool = client.connection_pool
    pool.reset()
    pool._available_connections.append(pool.make_connection())


def warm(client: Any) -> None:
    """In such a child: connect now, so that the first command need not. Raises redis errors."""
    pool = client.connection_pool
    pool.pid = os.getpid()  # else redis-py would begin anew
    for one in pool._available_connections:
        one.pid = pool.pid
    pool.release(pool.get_connection())


def impatient(url: str, *, timeout: float = 2.0, **options: Any) -> Any:
    """For loops: an error after ``timeout`` seconds at most, one silent reconnect at most."""
    retry: Retry = Retry(NoBackoff(), 1, UNAVAILABLE)
    return Redis.from_url(url, retry=retry, socket_timeout=timeout, socket_connect_timeout=timeout, **options)
