"""Run states: the same rules, with a generation in place of a version."""

from typing import Any

import pytest

from pools.signing import errors, verify_run
from tests.support.simulator import YEAR, Simulator
from tests.unit.signing.cases import OTHER_POOL, POOL, SPEC


def _run(simulator: Simulator, raw: bytes, last_generation: int | None = None, **changes: Any) -> str:
    arguments: dict[str, Any] = {"root": simulator.root, "env": "test", "pool_uid": POOL, "now": simulator.now}
    return verify_run(raw, last_generation=last_generation, **arguments | changes).state


def test_run_state_is_accepted_again_and_forward(simulator: Simulator) -> None:
    paused, running = simulator.run(POOL, "paused"), simulator.run(POOL, "running")
    assert _run(simulator, paused) == "paused"
    assert _run(simulator, paused, 1) == "paused"
    assert _run(simulator, running, 1) == "running"
    assert (
        verify_run(
            running, root=simulator.root, env="test", pool_uid=POOL, last_generation=None, now=simulator.now
        ).generation
        == 2
    )


def test_run_state_replay(simulator: Simulator) -> None:
    with pytest.raises(errors.VersionRollbackError, match="generation is 1, after 2"):
        _run(simulator, simulator.run(POOL, "running"), 2)


def test_run_state_of_another_pool_environment_or_time(simulator: Simulator) -> None:
    with pytest.raises(errors.WrongPoolError):
        _run(simulator, simulator.run(OTHER_POOL, "paused"))
    with pytest.raises(errors.WrongEnvironmentError):
        _run(simulator, simulator.run(POOL, "paused", env="prod"))
    with pytest.raises(errors.RootExpiredError):
        _run(simulator, simulator.run(POOL, "paused"), now=simulator.now + YEAR)
    with pytest.raises(errors.WrongPayloadTypeError):
        _run(simulator, simulator.config(POOL, SPEC))
    with pytest.raises(errors.BadPayloadError):
        _run(simulator, simulator.run(POOL, "stopped"))
