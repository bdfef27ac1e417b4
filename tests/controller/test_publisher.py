"""From an approved version to what an agent accepts: signed once, sent at least once, brought back when lost."""

import json
import time
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from pools.broker.connection import Broker, BrokerUnavailable
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.publisher import NotReady, Publisher
from pools.controller.relay import Relay
from pools.controller.renewal import Renewal
from pools.models import ConfigState, ConfigVersion, ControllerLease, OutboxMessage, Pool, RunCommand, Team
from pools.operations import config_renew
from pools.signing import Trusted, TrustRoot, VerifiedConfig, verify_config, verify_run
from pools.signing.keys import CryptoSigner
from pools.spec import PoolSpec, parse_spec
from tests.controller.conftest import Tick
from tests.controller.pools import ACTOR, new_pool, new_version, pause
from tests.support import factories
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db


@pytest.fixture
def relay(publisher: Publisher, lease: LeaderLease) -> Relay:
    return Relay(lease, {"config": publisher.deliver_config, "run": publisher.deliver_run})


@pytest.fixture
def root(signer: CryptoSigner) -> TrustRoot:
    return TrustRoot.create(env="test", expires=int(time.time()) + 3600, keys=[signer.public_key])


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return broker.redis


def verified(client: redis.Redis, pool: Pool, root: TrustRoot, last: Trusted | None = None) -> VerifiedConfig[PoolSpec]:
    raw = client.get(f"pw:config:{pool.uid}")
    assert isinstance(raw, bytes)
    return verify_config(
        raw, root=root, env="test", pool_uid=str(pool.uid), last=last, now=int(time.time()), parse_spec=parse_spec
    )


def desired(client: redis.Redis, pool: Pool) -> dict[str, object]:
    found: dict[str, object] = json.loads(client.hget("pw:desired", str(pool.uid)) or "{}")
    return found


def test_a_version_is_signed_published_and_accepted(
    relay: Relay, tick: Tick, client: redis.Redis, team: Team, root: TrustRoot
) -> None:
    pool = new_pool(team, workers=3)
    tick(relay)
    config = verified(client, pool, root)
    version = ConfigVersion.objects.get(pool=pool)
    assert (config.version, config.spec.workers, config.sha256) == (1, 3, version.payload_sha256)
    assert (version.state, bytes(version.envelope or b"")) == (
        ConfigState.PUBLISHED,
        client.get(f"pw:config:{pool.uid}"),
    )
    assert version.expires is not None and version.expires - timezone.now() > timedelta(days=89)
    assert Pool.objects.get().published_number == 1
    assert desired(client, pool) == {"pool": "payments", "config": 1, "generation": 0}
    assert recent_actions(1) == [("config.signed", "done", "payments")]


def test_the_next_version_chains_to_the_last_and_supersedes_it(
    relay: Relay, tick: Tick, client: redis.Redis, team: Team, root: TrustRoot
) -> None:
    pool = new_pool(team)
    tick(relay)
    first = verified(client, pool, root)
    new_version(pool, workers=9)
    tick(relay)
    second = verified(client, pool, root, Trusted(1, first.sha256))
    assert (second.version, second.spec.workers) == (2, 9)
    states = dict(ConfigVersion.objects.values_list("number", "state"))
    assert states == {1: ConfigState.SUPERSEDED, 2: ConfigState.PUBLISHED}


def test_a_version_is_signed_once_however_often_its_message_comes(
    relay: Relay, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pool = new_pool(team)
    tick(relay)
    envelope = client.get(f"pw:config:{pool.uid}")
    client.flushall()
    OutboxMessage.objects.update(published_at=None)
    tick(relay)
    assert client.get(f"pw:config:{pool.uid}") == envelope
    assert len([action for action, *_ in recent_actions(10) if action == "config.signed"]) == 1


def test_killed_between_signing_and_sending_the_same_bytes_are_sent(
    relay: Relay, publisher: Publisher, tick: Tick, client: redis.Redis, team: Team, root: TrustRoot, broker: Broker
) -> None:
    pool = new_pool(team)
    client.config_set("maxmemory", "1")  # the broker refuses writes: signing is done, sending is not
    with pytest.raises(BrokerUnavailable):
        tick(relay)
    client.config_set("maxmemory", "0")
    version = ConfigVersion.objects.get(pool=pool)
    assert version.state == ConfigState.PUBLISHED and client.get(f"pw:config:{pool.uid}") is None
    tick(relay)
    assert client.get(f"pw:config:{pool.uid}") == bytes(version.envelope or b"")


def test_a_late_repeat_does_not_bring_an_old_version_back(
    relay: Relay, publisher: Publisher, tick: Tick, client: redis.Redis, team: Team, root: TrustRoot
) -> None:
    pool = new_pool(team)
    tick(relay)
    new_version(pool, workers=9)
    tick(relay)
    publisher.deliver_config(OutboxMessage.objects.get(key="payments:1"))
    assert verified(client, pool, root).version == 2


def test_a_version_waits_for_the_one_before(publisher: Publisher, broker: Broker, team: Team) -> None:
    pool = new_pool(team)
    new_version(pool, workers=9)
    with pytest.raises(NotReady, match="payments v1 is not signed yet"):
        publisher.deliver_config(OutboxMessage.objects.get(key="payments:2"))


def test_a_replaced_leader_signs_nothing(relay: Relay, client: redis.Redis, team: Team) -> None:
    pool = new_pool(team)
    ControllerLease.objects.update(holder="somebody else")
    with pytest.raises(LeaseLost):
        relay.tick()
    assert ConfigVersion.objects.get(pool=pool).envelope is None
    assert client.keys() == []


def test_a_pause_reaches_the_broker_as_its_generation(
    relay: Relay, tick: Tick, client: redis.Redis, team: Team, root: TrustRoot
) -> None:
    pool = new_pool(team)
    command = pause(pool)
    tick(relay)
    raw = client.get(f"pw:run:{pool.uid}")
    assert isinstance(raw, bytes)
    run = verify_run(raw, root=root, env="test", pool_uid=str(pool.uid), last_generation=0, now=int(time.time()))
    assert (run.payload.state, run.payload.generation, run.payload.command_id) == ("paused", 1, str(command.command_id))
    assert desired(client, pool) == {"pool": "payments", "config": 1, "generation": 1}


def signed_until(team: Team, slug: str, days: int) -> Pool:
    pool = factories.pool(team, slug, versions=0)
    Pool.objects.filter(pk=pool.pk).update(config_number=1, published_number=1)
    factories.config_version(pool, 1, factories.spec(queues=[slug]), expires=timezone.now() + timedelta(days=days))
    return pool


def test_a_config_is_renewed_when_a_third_of_its_time_is_left(
    relay: Relay, tick: Tick, client: redis.Redis, team: Team, root: TrustRoot
) -> None:
    def renew(pool: Pool) -> None:
        config_renew(actor=ACTOR, pool=pool)

    soon, later = signed_until(team, "soon", days=29), signed_until(team, "later", days=31)
    tick(Renewal(renew))
    tick(relay)
    tick(Renewal(renew))
    assert verified(client, soon, root).version == 2
    assert client.get(f"pw:config:{later.uid}") is None
    assert RunCommand.objects.count() == 0
