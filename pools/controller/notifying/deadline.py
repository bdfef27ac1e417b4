"""A time-out for a whole conversation: a socket's own is for each step, and a drip of bytes keeps that away."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def deadline(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Break the connection, TLS and all, when the block has not ended in time. It then raises TimeoutError, also where
    what had come by then would pass for an answer."""
    handle = socket.socket(fileno=os.dup(connected.fileno()))  # a TLS socket knows no dup()

    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        handle.close()
        if late.is_set():
            raise TimeoutError
