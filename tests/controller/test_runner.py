"""The loops side by side: one that fails stops no other, and only a leader ticks."""

import threading
from collections.abc import Iterator

import pytest
from django.db import OperationalError
from structlog.testing import capture_logs

from pools.broker.connection import BrokerUnavailable
from pools.controller.lease import LeaderLease
from pools.controller.runner import LONGEST_BACKOFF, STANDBY, Runner, Turns, run_once
from pools.models import ControllerLease
from tests.support.waiting import wait_for


class Counting:
    """A loop that counts its ticks and raises what it is told to."""

    interval = 0.05

    def __init__(self, name: str = "counting", fault: Exception | None = None, more: int = 0) -> None:
        self.name = name
        self.fault = fault
        self.more = more
        self.ticks = 0

    def tick(self) -> bool:
        self.ticks += 1
        if self.fault:
            raise self.fault
        return self.ticks <= self.more


@pytest.fixture
def running(transactional_db: None) -> Iterator[list[Runner]]:
    runners: list[Runner] = []
    yield runners
    for runner in runners:
        assert runner.stop(10) == []


def test_a_failing_loop_stops_no_other(running: list[Runner]) -> None:
    bad, away, good = Counting("bad", fault=KeyError("x")), Counting("away", OperationalError("away")), Counting("good")
    running.append(Runner([bad, away, good], LeaderLease()))
    running[0].start()
    wait_for(lambda: good.ticks > 20 and bad.ticks > 2 and away.ticks > 2, timeout=15)


def test_a_runner_ends_with_its_ticks_finished(running: list[Runner]) -> None:
    began, finish, ended = threading.Event(), threading.Event(), threading.Event()

    class Slow(Counting):
        def tick(self) -> bool:
            began.set()
            finish.wait(10)
            ended.set()
            return False

    runner = Runner([Slow()], LeaderLease())
    runner.start()
    assert began.wait(10)
    assert runner.stop(0.1) == ["counting"]
    assert not ended.is_set()
    finish.set()
    assert runner.stop(10) == []
    assert ended.is_set()


@pytest.mark.django_db(transaction=True)
class TestTurns:
    @pytest.fixture
    def lease(self) -> LeaderLease:
        lease = LeaderLease()
        lease.renew()
        return lease

    def test_only_a_leader_ticks(self, lease: LeaderLease) -> None:
        loop = Counting()
        lease.release()
        assert Turns(loop, lease).take() == STANDBY
        assert loop.ticks == 0

    def test_more_to_do_is_done_at_once(self, lease: LeaderLease) -> None:
        turns = Turns(Counting(more=1), lease)
        assert (turns.take(), turns.take()) == (0.0, 0.05)

    @pytest.mark.parametrize("outage", [BrokerUnavailable("default", "it is away"), OperationalError("it is away")])
    def test_an_outage_is_said_ever_more_rarely_and_tried_ever_more_slowly(
        self, lease: LeaderLease, outage: Exception
    ) -> None:
        turns = Turns(Counting(fault=outage), lease)
        with capture_logs() as logs:
            waits = [turns.take() for _ in range(20)]
        assert waits[:3] == [0.1, 0.2, 0.4] and waits[-1] == LONGEST_BACKOFF
        assert [entry["failures"] for entry in logs] == [1, 2, 4, 8, 16]
        assert "it is away" in logs[0]["error"]

    def test_a_fault_of_ours_is_said_every_time_with_its_traceback(self, lease: LeaderLease) -> None:
        turns = Turns(Counting(fault=KeyError("x")), lease)
        with capture_logs() as logs:
            for _ in range(3):
                turns.take()
        assert [(entry["event"], entry["log_level"], entry["exc_info"]) for entry in logs] == [
            ("loop.fault", "error", True)
        ] * 3

    def test_recovery_is_said_too(self, lease: LeaderLease) -> None:
        loop = Counting(fault=OperationalError("away"))
        turns = Turns(loop, lease)
        turns.take()
        loop.fault = None
        with capture_logs() as logs:
            turns.take()
        assert logs[0]["event"] == "loop.recovered"

    def test_once_runs_every_loop_and_tells_whether_all_went_well(self, lease: LeaderLease) -> None:
        good, bad, last = Counting(more=2), Counting(fault=KeyError("x")), Counting()
        assert run_once([good], lease)
        assert not run_once([good, bad, last], lease)
        assert (good.ticks, bad.ticks, last.ticks) == (4, 1, 1)

    def test_a_lease_lost_between_two_ticks_stops_them(self, lease: LeaderLease) -> None:
        ControllerLease.objects.update(holder="somebody else")
        assert lease.renew() is False
        loop = Counting()
        Turns(loop, lease).take()
        assert loop.ticks == 0
