from collections.abc import Callable

import pytest
import redis
from pytest_django import Settings

from pools.broker.connection import Broker, get_broker
from pools.models import FailureGroup, Operation, Pool
from pools.operations import Selection, discard_create, requeue_create
from pools.selectors.dead_letters import DeadLetterFilter
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed, pks
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast
from tests.support.valkey import ValkeyServer

type Made = Callable[..., Operation]


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def payments(cast: Cast) -> Pool:
    return make.pool(cast.payments)


@pytest.fixture
def broker(valkey: ValkeyServer, settings: Settings) -> Broker:
    """The empty broker that the settings name ``default``."""
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    return get_broker()


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def dead(payments: Pool, client: redis.Redis) -> Callable[..., FailureGroup]:
    """Make a group of jobs that are dead both on the broker and in the read model."""

    def make_dead(*ids: str, title: str = "ValueError: no such order", pool: Pool = payments) -> FailureGroup:
        write_failed(client, *ids, queue=pool.queues[0])
        return failed(pool, *ids, title=title)

    return make_dead


@pytest.fixture
def requeue(cast: Cast) -> Made:
    """Bob freezes a requeue of these jobs, or of everything."""

    def create(*ids: str) -> Operation:
        return requeue_create(actor=actor(cast.bob), selection=_chosen(ids), reason="The gateway is back")

    return create


@pytest.fixture
def discard(cast: Cast) -> Made:
    def create(*ids: str) -> Operation:
        return discard_create(actor=actor(cast.bob), selection=_chosen(ids), reason="Test data")

    return create


def _chosen(ids: tuple[str, ...]) -> Selection:
    return Selection(ids=tuple(pks(*ids))) if ids else Selection(filter=DeadLetterFilter())
