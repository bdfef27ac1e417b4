"""Failed jobs read ahead in a process of its own: to read them and take them apart takes as long as to enter them, and
threads of one process cannot do both at once."""

import multiprocessing
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import batched
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pools.broker.connection import Broker, BrokerUnavailable
from pools.broker.failed_jobs import READ_LIMIT, FailedJob, Missing, read_failed

type Queues = Mapping[str, str]
type Searched = Mapping[str, tuple[str, ...]]


def read(broker: Broker, queues: Queues, searched: Searched) -> list[FailedJob | Missing]:
    """Any number of jobs, ``queues`` by their ids; see ``read_failed``. Raises BrokerUnavailable."""
    return [job for ids in batched(queues, READ_LIMIT) for job in read_failed(broker, ids, queues, searched)]


class Reader:
    """Reads one lot at a time: each question has its answer before the next. The process starts with the first
    question, and ends with ``close`` or with the process that it reads for."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._started: tuple[BaseProcess, Connection] | None = None
        self._first: list[FailedJob | Missing] | None = None

    def ask(self, queues: Queues, searched: Searched) -> None:
        """Have these jobs read. Raises BrokerUnavailable, also when the process has died."""
        if not self._started:
            self._started = self._start()
            self._first = read(self._broker, queues, searched)  # which it would not have begun by then
            return
        try:
            self._started[1].send((queues, searched))
        except OSError:
            raise self._died() from None

    def answer(self) -> list[FailedJob | Missing]:
        """What was asked for; waits for it. Raises BrokerUnavailable, also when the process has died."""
        assert self._started is not None
        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            found: list[FailedJob | Missing] | str = self._started[1].recv()
        except (OSError, EOFError):
            raise self._died() from None
        if isinstance(found, str):
            raise BrokerUnavailable(self._broker.alias, found)
        return found

    def close(self) -> None:
        """End the process, whatever it was asked: it only reads."""
        self._first = None
        if self._started:
            process, pipe = self._started
            self._started = None
            pipe.close()
            process.terminate()
            process.join()

    def _start(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = multiprocessing.Pipe()
        # Spawned: a fork would take along what this process's other threads have locked; and a broker of its own, for
        # a connection cannot be shared.
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, replace(self._broker)), name="reader", daemon=True
        )
        process.start()
        theirs.close()
        return process, ours

    def _died(self) -> BrokerUnavailable:
        self.close()
        return BrokerUnavailable(self._broker.alias, "the process that reads its failed jobs has died")


def _serve(pipe: Connection, broker: Broker) -> None:
    """Until the other end is closed, by will or by death."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which is meant for the controller
    with suppress(EOFError, OSError):
        while True:
            queues, searched = pipe.recv()
            try:
                pipe.send(read(broker, queues, searched))
            except BrokerUnavailable as error:
                pipe.send(error.why)
