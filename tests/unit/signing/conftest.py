import pytest

from tests.support.simulator import Simulator


@pytest.fixture
def simulator() -> Simulator:
    """An environment named "test" whose clock stands still."""
    return Simulator(now=1_800_000_000)
