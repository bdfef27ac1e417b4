"""Fixtures that every test may use. Servers are real; each test process has its own."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before Django reads its settings: a home of this test run's own, plain HTTP for the test client.
home = tempfile.TemporaryDirectory(prefix="poolwarden-test-", ignore_cleanup_errors=True)
os.environ.setdefault("POOLWARDEN_HOME", home.name)
os.environ.setdefault("POOLWARDEN_ENV", "test")
os.environ.setdefault("POOLWARDEN_HTTPS", "0")
os.environ.setdefault("POOLWARDEN_LOG_LEVEL", "WARNING")
os.environ["DJANGO_SETTINGS_MODULE"] = "controlplane.settings"

import django
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

django.setup()

from django.conf import settings

# Nothing is timed: the machine may be busy. What a fixture gives is for all examples of a test.
CHECKS_LEFT_OUT = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("poolwarden", deadline=None, suppress_health_check=CHECKS_LEFT_OUT)
hypothesis.settings.load_profile("poolwarden")

# A password costs 0.3 s to hash; no test asks how hard it is to guess.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in earnest. In memory all threads of a page's server share one connection, and Python's sqlite3 can
    # block for ever when one of them is in the authorizer. It need not outlive the tests, so nobody waits for the disk.
    sqlite: Any = settings.DATABASES["default"]
    sqlite["TEST"] = sqlite.get("TEST", {}) | {"NAME": str(settings.POOLWARDEN_HOME / "test.sqlite3")}
    sqlite["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"

from tests.support.valkey import ValkeyServer, free_port


class OneHomeForEachFile(LoadScopeScheduling):
    """Spreads single tests over the processes, but keeps a file of acceptance tests, which share installations, in one.

    (The plugin's own groups do not reach the scheduler under this version of pytest.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::")[0] if nodeid.startswith("tests/acceptance/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return OneHomeForEachFile(config, log)


def pytest_unconfigure() -> None:
    home.cleanup()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What only one database can show is left out of the run on the other, which has it in its own."""
    other = "postgresql" if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3") else "sqlite"
    left_out = [item for item in items if item.get_closest_marker(other)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker(other)]


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


@pytest.fixture(scope="session", autouse=True)
def flushable(django_db_modify_db_settings: None) -> None:
    """Transactional tests end with a flush, which append-only tables refuse otherwise."""
    from tests.support.flush import allow_flush

    allow_flush()


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Who runs the tests must be able to end them: a test that took a signal fails."""
    taken = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    left = {number: signal.getsignal(number) for number in taken}
    for number, handler in taken.items():
        signal.signal(number, handler)
    assert left == taken
