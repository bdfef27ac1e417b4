"""A controller's parts over a real Valkey, ticked by hand; and whole installations of real processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from pools.broker.connection import Broker, get_broker
from pools.controller.lease import LeaderLease
from pools.controller.loop import Loop
from pools.controller.publisher import Publisher
from pools.models import Team
from pools.signing.keys import CryptoSigner, new_signer
from tests.controller.installation import Installation
from tests.support.valkey import ValkeyServer

type Tick = Callable[[Loop], bool]


@pytest.fixture
def broker(valkey: ValkeyServer, settings: Settings) -> Broker:
    """The empty broker that the settings name ``default``."""
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    return get_broker()


@pytest.fixture
def team(db: None) -> Team:
    return Team.objects.create(slug="payments", name="Payments")


@pytest.fixture
def lease(db: None) -> LeaderLease:
    """A lease that this process holds."""
    held = LeaderLease()
    assert held.renew()
    return held


@pytest.fixture
def tick(lease: LeaderLease) -> Tick:
    """One tick of a loop by the leader, however long the test already runs."""

    def run(loop: Loop) -> bool:
        assert lease.renew()
        return loop.tick()

    return run


@pytest.fixture
def signer() -> CryptoSigner:
    return new_signer()


@pytest.fixture
def publisher(signer: CryptoSigner, lease: LeaderLease, broker: Broker) -> Publisher:
    return Publisher(signer, lease)


@pytest.fixture
def installation(transactional_db: None, tmp_path: Path, valkey: ValkeyServer) -> Iterator[Installation]:
    """A home and a database for real controllers. Rows made before ``open`` are there."""
    made = Installation(tmp_path / "home", valkey)
    yield made
    made.end()
