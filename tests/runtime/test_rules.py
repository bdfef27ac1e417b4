"""The pure parts: what to start and drain, how long to wait, when to retry, how a worker's life goes."""

import pytest

from pools.runtime.handle import WorkerState
from pools.runtime.reconciler import ACTIVE, MAX_STARTING, TRANSITIONS, Drain, Seen, Start, Wanted, plan
from pools.runtime.respawn import BOOT_RETRY_SECONDS, BootFailure, Respawn
from pools.runtime.retry import RetryRule, Wait, exception_names, wait

RUNNING, STARTING, DRAINING = WorkerState.RUNNING, WorkerState.STARTING, WorkerState.DRAINING


def seen(*states: WorkerState, build: str = "new") -> list[Seen]:
    return [Seen(f"{build}-{state}-{n}", build, state) for n, state in enumerate(states)]


def wanted(count: int, *, may_start: bool = True) -> Wanted:
    return Wanted("new", count, may_start)


class TestPlan:
    def test_a_new_build_is_tried_with_one_worker(self) -> None:
        assert plan(wanted(4), []) == [Start(1)]
        assert plan(wanted(4), seen(STARTING)) == []

    def test_a_proved_build_starts_the_rest(self) -> None:
        assert plan(wanted(4), seen(RUNNING)) == [Start(3)]
        assert plan(wanted(4), seen(RUNNING, RUNNING, RUNNING, RUNNING)) == []

    def test_old_workers_stay_until_the_new_build_is_proved(self) -> None:
        old = seen(RUNNING, RUNNING, build="old")
        assert plan(wanted(2), old) == [Start(1)]
        assert plan(wanted(2), [*old, *seen(STARTING)]) == []
        assert plan(wanted(2), [*old, *seen(RUNNING)]) == [*(Drain(worker.name) for worker in old), Start(1)]

    def test_backoff_starts_nothing_but_still_drains(self) -> None:
        assert plan(wanted(2, may_start=False), []) == []
        assert plan(wanted(1, may_start=False), seen(RUNNING, RUNNING)) == [Drain("new-running-1")]

    def test_no_workers_wanted_drains_all(self) -> None:
        assert plan(wanted(0), seen(RUNNING, STARTING)) == [Drain("new-running-0"), Drain("new-starting-1")]
        assert plan(wanted(0), seen(DRAINING)) == []

    def test_surplus_lets_go_of_those_that_are_not_ready_first(self) -> None:
        assert plan(wanted(2), seen(STARTING, RUNNING, RUNNING)) == [Drain("new-starting-0")]

    def test_surplus_lets_go_of_idle_workers_before_busy_ones(self) -> None:
        at_work = [Seen("young", "new", RUNNING, busy=True)]
        assert plan(wanted(1), [*seen(RUNNING, RUNNING), *at_work]) == [Drain("new-running-0"), Drain("new-running-1")]
        assert plan(wanted(2), [*seen(RUNNING, RUNNING), *at_work]) == [Drain("new-running-1")]

    def test_draining_workers_are_replaced_up_to_twice_the_count(self) -> None:
        assert plan(wanted(2), seen(RUNNING, DRAINING, DRAINING)) == [Start(1)]
        assert plan(wanted(2), seen(RUNNING, DRAINING, DRAINING, DRAINING)) == []

    def test_not_all_load_the_application_at_once(self) -> None:
        assert plan(wanted(100), seen(RUNNING)) == [Start(MAX_STARTING)]
        assert plan(wanted(100), seen(RUNNING, *[STARTING] * MAX_STARTING)) == []

    @pytest.mark.parametrize("count", [0, 1, 5])
    def test_it_converges_from_anything_and_then_rests(self, count: int) -> None:
        workers = [*seen(RUNNING, RUNNING, STARTING, build="old"), *seen(DRAINING, STARTING)]
        for step in range(20):
            for action in plan(wanted(count), workers):
                match action:
                    case Drain(name):
                        workers = [worker for worker in workers if worker.name != name]
                    case Start(more):
                        workers += [Seen(f"step-{step}-{n}", "new", STARTING) for n in range(more)]
            workers = [Seen(worker.name, worker.build, RUNNING) for worker in workers if worker.state in ACTIVE]
        assert [worker.build for worker in workers] == ["new"] * count
        assert plan(wanted(count), workers) == []


def test_every_state_leads_to_an_end() -> None:
    assert set(TRANSITIONS) == set(WorkerState)
    assert TRANSITIONS[WorkerState.STOPPING] == frozenset()
    assert all(WorkerState.STOPPING in TRANSITIONS[state] for state in (*ACTIVE, DRAINING))


class TestRespawn:
    FAILURE = BootFailure(at=0, exit_code=1, message="no module")

    def test_three_boot_failures_stop_the_storm_until_a_new_build(self) -> None:
        respawn = Respawn()
        assert respawn.may_start("a", 0)
        assert [respawn.boot_failed("w", self.FAILURE, 0) for _ in range(3)] == [False, False, True]
        assert respawn.failure == self.FAILURE
        assert not respawn.may_start("a", BOOT_RETRY_SECONDS - 1)
        assert respawn.may_start("a", BOOT_RETRY_SECONDS)
        assert not respawn.boot_failed("w", self.FAILURE, 100), "people are told once"
        assert respawn.may_start("b", 100)
        assert respawn.failure is None

    def test_crashes_wait_longer_and_longer_to_a_limit(self) -> None:
        respawn = Respawn()
        respawn.may_start("a", 0)
        waits = []
        for _ in range(10):
            respawn.crashed("w", lived=1, now=0)
            waits.append(next(now / 2 for now in range(100) if respawn.may_start("a", now / 2)))
        assert waits == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]

    def test_a_worker_that_lived_long_is_replaced_at_once(self) -> None:
        respawn = Respawn()
        respawn.may_start("a", 0)
        for _ in range(5):
            respawn.crashed("w", lived=1, now=0)
        respawn.crashed("w", lived=3600, now=50)
        assert respawn.may_start("a", 50)


class TestRetry:
    RULE = RetryRule("shop.*", max=3, backoff=10, cap=30, jitter=50, transient=(), permanent=("KeyError",))

    def wait(self, attempt: int, error: type[BaseException] = ValueError, rule: RetryRule = RULE) -> int | None:
        found = wait([rule], "shop.pay", exception_names(error), attempt, "job-1")
        return found.seconds if found else None

    def test_waits_double_to_the_cap_and_end_at_max(self) -> None:
        steady = RetryRule("*", max=4, backoff=10, cap=35, jitter=0, transient=(), permanent=())
        assert [self.wait(n, rule=steady) for n in range(1, 6)] == [10, 20, 35, 35, None]

    def test_jitter_shortens_differs_between_jobs_and_is_the_same_each_time(self) -> None:
        names = exception_names(ValueError)
        waits = [wait([self.RULE], "shop.pay", names, 2, f"job-{n}") for n in range(200)]
        assert all(found is not None and 10 <= found.seconds <= 20 for found in waits)
        assert len(set(waits)) > 5
        assert waits == [wait([self.RULE], "shop.pay", names, 2, f"job-{n}") for n in range(200)]

    def test_permanent_errors_and_their_subclasses_are_final(self) -> None:
        class Missing(KeyError):
            pass

        assert self.wait(1, KeyError) is None
        assert self.wait(1, Missing) is None
        assert self.wait(1, ValueError) is not None

    def test_with_transient_errors_listed_all_others_are_final(self) -> None:
        rule = RetryRule("*", max=3, backoff=1, cap=1, jitter=0, transient=("builtins.OSError",), permanent=())
        assert self.wait(1, ConnectionError, rule) == 1
        assert self.wait(1, ValueError, rule) is None

    def test_first_rule_that_matches_decides(self) -> None:
        never = RetryRule("shop.pay", max=0, backoff=1, cap=1, jitter=0, transient=(), permanent=())
        names = exception_names(ValueError)
        assert wait([never, self.RULE], "shop.pay", names, 1, "j") is None
        assert wait([never, self.RULE], "shop.ship", names, 1, "j") is not None
        assert wait([never, self.RULE], "other", names, 1, "j") is None

    def test_failure_without_an_exception_is_final(self) -> None:
        assert wait([self.RULE], "shop.pay", exception_names(None), 1, "j") is None

    def test_a_systemic_error_waits_longest_and_counts_not_until_patience_ends(self) -> None:
        rule = RetryRule("*", 2, 10, 80, 0, ("OSError",), ("BrokenPipeError",), ("ConnectionError",), patience=100)
        down, broken = exception_names(ConnectionResetError), exception_names(BrokenPipeError)
        assert wait([rule], "t", down, 50, "j", age=99.9) == Wait(80, counts=False)
        assert wait([rule], "t", down, 1, "j", age=100) == Wait(10)
        assert wait([rule], "t", down, 3, "j", age=100) is None
        assert wait([rule], "t", broken, 1, "j", age=0) is None, "what is permanent stays so"
        assert wait([rule], "t", exception_names(OSError), 2, "j", age=0) == Wait(20)
        assert wait([rule], "t", down, 1, "j", age=-3600) == Wait(80, counts=False), "made by a clock that is ahead"
