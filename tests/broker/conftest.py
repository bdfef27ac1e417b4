"""Brokers on a real Valkey, and a worker that runs what is enqueued in this process."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from rq import Queue

from pools.broker.connection import Broker
from tests.support.in_process import InProcessWorker
from tests.support.valkey import ValkeyServer

type Work = Callable[..., None]


@pytest.fixture
def broker(valkey: ValkeyServer) -> Broker:
    """An empty broker."""
    return Broker("default", valkey.url)


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    """A client of its own, as RQ's applications have one."""
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def work(client: redis.Redis) -> Work:
    """Run everything that waits in a queue, as a stock RQ worker would."""

    def run(name: str = "mail", serializer: str | None = None) -> None:
        queue = Queue(name, connection=client, serializer=serializer)
        InProcessWorker([queue], connection=client, serializer=serializer).work(burst=True, logging_level="CRITICAL")

    return run


@pytest.fixture
def live_socket() -> Iterator[int]:
    """The port of a server that answers every connection with a sentence, and is no Redis."""
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"220 mail.example.org ESMTP\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(timeout=5)
