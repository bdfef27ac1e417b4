"""Brokers on a real Valkey, and a worker that runs what is enqueued in this process."""

from collections.abc import Callable

import pytest
import redis
from rq import Queue, SimpleWorker

from pools.broker.connection import Broker
from tests.support.valkey import ValkeyServer


@pytest.fixture
def broker(valkey: ValkeyServer) -> Broker:
    """An empty broker."""
    return Broker("default", valkey.url)


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    """A client of its own, as RQ's applications have one."""
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def work(client: redis.Redis) -> Callable[..., None]:
    """Run everything that waits in a queue, as a stock RQ worker would."""

    def run(name: str = "mail", serializer: str | None = None) -> None:
        queue = Queue(name, connection=client, serializer=serializer)
        SimpleWorker([queue], connection=client, serializer=serializer).work(burst=True, logging_level="CRITICAL")

    return run
