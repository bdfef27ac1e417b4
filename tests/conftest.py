"""Fixtures that every test may use. Servers are real; each test process has its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.valkey import ValkeyServer, free_port


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One Valkey for this test process; use ``valkey`` unless the test shares it knowingly."""
    server = ValkeyServer(Path(tmp_path_factory.mktemp("valkey")), free_port())
    server.start()
    yield server
    server.kill()


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> ValkeyServer:
    """An empty Valkey. Tests that stop or kill a server use ``own_valkey``."""
    valkey_server.client.flushall()
    return valkey_server


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey of this test's own, which it may stop, kill and start again."""
    server = ValkeyServer(tmp_path / "valkey", free_port())
    server.start()
    yield server
    server.kill()
