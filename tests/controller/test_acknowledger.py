"""A command counts as arrived when all who must obey it say so, and nobody else's word matters."""

import pytest
import redis

from pools.broker.connection import Broker
from pools.controller.acknowledger import Acknowledger
from pools.controller.lease import LeaderLease
from pools.models import Pool, RunCommand, Team
from tests.controller.beats import FakeAgent
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool, pause
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def acknowledger(lease: LeaderLease, broker: Broker) -> Acknowledger:
    return Acknowledger(lease)


@pytest.fixture
def pool(team: Team) -> Pool:
    return new_pool(team)


def serving(client: redis.Redis, pool: Pool, name: str, *, generation: int, gone: bool = False) -> FakeAgent:
    """An agent that the sampler has seen serve the pool, and that now reports a generation."""
    factories.serves(factories.agent(name, gone_at=factories.ago(minutes=1) if gone else None), pool)
    agent = FakeAgent(client, name)
    agent.serve(pool, generation=generation)
    agent.beat()
    return agent


def acknowledged(command: RunCommand) -> bool:
    return RunCommand.objects.get(pk=command.pk).acknowledged_at is not None


def test_every_living_agent_must_have_applied_it(
    acknowledger: Acknowledger, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    command = pause(pool)
    serving(client, pool, "pay-01", generation=1)
    late = serving(client, pool, "pay-02", generation=0)
    serving(client, pool, "pay-03", generation=0, gone=True)
    tick(acknowledger)
    assert not acknowledged(command)
    late.pools[0]["generation"] = 1
    late.beat()
    tick(acknowledger)
    assert acknowledged(command)


def test_a_later_generation_settles_the_earlier_ones(
    acknowledger: Acknowledger, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    first = pause(pool)
    pool.refresh_from_db()
    second = factories.run_command(pool, "draining")
    serving(client, pool, "pay-01", generation=1)
    tick(acknowledger)
    assert (acknowledged(first), acknowledged(second)) == (True, False)
    serving(client, pool, "pay-02", generation=2)
    FakeAgent(client, "pay-01").beat()
    tick(acknowledger)
    assert not acknowledged(second), "the first agent says nothing of the pool any more"


def test_without_an_agent_nothing_is_acknowledged(acknowledger: Acknowledger, tick: Tick, pool: Pool) -> None:
    command = pause(pool)
    tick(acknowledger)
    assert not acknowledged(command)


def test_without_an_open_command_the_broker_is_not_asked(
    acknowledger: Acknowledger, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    serving(client, pool, "pay-01", generation=0)
    client.config_resetstat()
    tick(acknowledger)
    assert "cmdstat_hgetall" not in client.info("commandstats")
