import pytest
from pytest_django import Settings

from pools.broker.connection import get_broker
from tests.events.world import World, make_world
from tests.support.valkey import ValkeyServer


@pytest.fixture
def world(db: None, valkey: ValkeyServer, settings: Settings) -> World:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    return make_world(get_broker())
