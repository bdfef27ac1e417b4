"""Thousands of failed jobs, read in a process of their own while those before them are entered."""

import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from django.conf import settings

from pools.broker.connection import Broker, BrokerUnavailable
from pools.controller.books import LOT, Books
from pools.controller.lease import LeaderLease
from pools.controller.reader import Reader
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import DeadLetter, FailureGroup, Pool, Team
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.support.waiting import wait_for


@pytest.fixture
def held(broker: Broker, lease: LeaderLease, team: Team, tick: Tick) -> int:
    """Two lots and a part of one lie in a queue's failed registry."""
    client, held = redis.Redis.from_url(broker.url), 2 * LOT + 500
    for start in range(0, held, 500):
        write_failed(client, *(f"job-{n}" for n in range(start, start + 500)))
    tick(Sampler(lease))
    return held


def open_count() -> int:
    return sum(FailureGroup.objects.values_list("open_count", flat=True))


@pytest.mark.django_db
def test_thousands_are_indexed_in_one_pass(held: int, lease: LeaderLease, tick: Tick) -> None:
    tick(Scanner(lease))
    assert DeadLetter.objects.count() == open_count() == held
    assert Pool.objects.get().dead_letters.count() == held
    assert multiprocessing.active_children() == []


@pytest.mark.django_db
def test_a_reader_that_is_killed_loses_nothing(
    held: int, lease: LeaderLease, tick: Tick, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner, absorbed = Scanner(lease), Books._absorb

    def kill_then_absorb(*args: object) -> None:
        for child in multiprocessing.active_children():
            child.kill()
        absorbed(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as during:
        during.setattr(Books, "_absorb", kill_then_absorb)
        with pytest.raises(BrokerUnavailable, match="the process that reads its failed jobs has died"):
            tick(scanner)
    assert DeadLetter.objects.count() == open_count() == LOT
    assert multiprocessing.active_children() == []
    tick(scanner)
    assert DeadLetter.objects.count() == open_count() == held


def test_a_reader_says_why_the_broker_cannot_be_read() -> None:
    reader = Reader(Broker("away", "redis://127.0.0.1:1/0"))
    why = r"127\.0\.0\.1:1 cannot be reached"
    with pytest.raises(BrokerUnavailable, match=why):
        reader.ask({"j1": "mail"}, {})
    reader.ask({"j1": "mail"}, {})
    with pytest.raises(BrokerUnavailable, match=why):
        reader.answer()
    reader.close()


def test_a_reader_ends_with_the_process_that_it_reads_for() -> None:
    program = "from pools.controller.reader import Reader; from pools.broker.connection import Broker; import os\n"
    program += "import multiprocessing; reader = Reader(Broker('x', 'redis://127.0.0.1:1/0')); reader.ask({}, {})\n"
    program += "reader.answer(); print(multiprocessing.active_children()[0].pid, flush=True); os.kill(os.getpid(), 9)"
    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=settings.BASE_DIR)
    assert ended.returncode == -signal.SIGKILL
    wait_for(lambda: not Path(f"/proc/{int(ended.stdout)}").exists(), timeout=30)
