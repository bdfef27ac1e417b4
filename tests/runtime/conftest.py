"""Agents for tests: real processes, ended with the test whatever it did."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agents import AgentHost
from tests.support.valkey import ValkeyServer

APPLICATION = Path(__file__).with_name("application")


@pytest.fixture
def host(tmp_path: Path, valkey: ValkeyServer) -> Iterator[AgentHost]:
    """A worker host whose agent is not started yet."""
    made = AgentHost(tmp_path / "host", valkey)
    yield made
    made.close()
