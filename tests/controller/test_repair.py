"""Desired state that is lost or altered on the broker comes back as the database says, byte for byte."""

import json
import time

import pytest
import redis
from structlog.testing import capture_logs

from pools.broker.connection import Broker
from pools.broker.desired import mend_desired, read_desired
from pools.controller.lease import LeaderLease
from pools.controller.publisher import Publisher
from pools.controller.relay import Relay
from pools.controller.repair import Repair
from pools.models import Pool, Team
from pools.signing import CONFIG_TYPE, RUN_TYPE, config_payload, run_payload, sign
from pools.signing.keys import CryptoSigner, new_signer
from tests.broker.keyspace import dump
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool, new_version, pause
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db


@pytest.fixture
def relay(publisher: Publisher, lease: LeaderLease) -> Relay:
    return Relay(lease, {"config": publisher.deliver_config, "run": publisher.deliver_run})


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return broker.redis


@pytest.fixture
def pool(relay: Relay, tick: Tick, team: Team) -> Pool:
    """Payments at v2, paused: all of it lies on the broker."""
    made = new_pool(team)
    tick(relay)
    new_version(made, workers=9)
    pause(made)
    tick(relay)
    made.refresh_from_db()
    return made


def told(client: redis.Redis, pool: Pool) -> tuple[object, ...]:
    """What the broker holds for a pool: the hint's fields, and both envelopes."""
    hint = json.loads(client.hget("pw:desired", str(pool.uid)) or "{}")
    return hint, client.get(f"pw:config:{pool.uid}"), client.get(f"pw:run:{pool.uid}")


def forge_hint(client: redis.Redis, pool: Pool, **numbers: int) -> None:
    hint = json.loads(client.hget("pw:desired", str(pool.uid)) or "{}")
    client.hset("pw:desired", str(pool.uid), json.dumps(hint | numbers))


def test_a_flushed_broker_gets_everything_back_in_one_look(
    relay: Relay, publisher: Publisher, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pools = [new_pool(team, slug) for slug in ("a", "b", "c")]
    pause(pools[0])
    tick(relay)
    before = [told(client, pool) for pool in pools]
    client.flushall()
    tick(Repair(publisher))
    assert [told(client, pool) for pool in pools] == before
    assert "config.altered" not in {action for action, *_ in recent_actions(20)}


def test_a_broker_restored_from_an_old_dump_is_brought_up_to_date(
    relay: Relay, publisher: Publisher, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pool = new_pool(team)
    tick(relay)
    old = {key: client.dump(key) for key in client.scan_iter()}
    new_version(pool, workers=9)
    pause(pool)
    tick(relay)
    newest = told(client, pool)
    client.flushall()
    for key, value in old.items():
        client.restore(key, 0, value)
    tick(Repair(publisher))
    assert told(client, pool) == newest
    assert newest[0] == {"pool": "payments", "config": 2, "generation": 1}


def test_an_envelope_that_is_missing_beside_its_hint_comes_back(
    publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    before = told(client, pool)
    client.delete(f"pw:config:{pool.uid}", f"pw:run:{pool.uid}")
    tick(Repair(publisher))
    assert told(client, pool) == before


def test_nothing_lost_nothing_sent(publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool) -> None:
    client.config_resetstat()
    tick(Repair(publisher))
    stats = client.info("commandstats")
    assert not {"cmdstat_evalsha", "cmdstat_eval", "cmdstat_set"} & stats.keys()


def altered(client: redis.Redis, pool: Pool, how: str) -> None:
    config, run = f"pw:config:{pool.uid}", f"pw:run:{pool.uid}"
    match how:
        case "a bit of the config":
            raw = bytearray(client.get(config) or b"")
            raw[len(raw) // 2] ^= 1
            client.set(config, bytes(raw))
        case "another run state":
            client.set(run, client.get(config) or b"")
        case "a list for the config":
            client.delete(config)
            client.rpush(config, "not", "an", "envelope")
        case "5 MB for the run state":
            client.set(run, b"x" * 5_000_000)
        case "a version from the future":
            forge_hint(client, pool, config=999)
        case "a generation from the future":
            forge_hint(client, pool, generation=999)


@pytest.mark.parametrize(
    "how",
    [
        "a bit of the config",
        "another run state",
        "a list for the config",
        "5 MB for the run state",
        "a version from the future",
        "a generation from the future",
    ],
)
def test_what_was_altered_is_put_back_in_the_second_look(
    how: str, publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    repair, before = Repair(publisher), told(client, pool)
    altered(client, pool, how)
    lies = dump(client)
    tick(repair)
    assert dump(client) == lies, "agents have an interval to meet it, refuse it and say so"
    assert pool.altered_at is None
    tick(repair)
    assert told(client, pool) == before
    pool.refresh_from_db()
    assert pool.altered_at is not None
    assert recent_actions(1) == [("config.altered", "done", "payments")]
    tick(repair)
    assert [action for action, *_ in recent_actions(20)].count("config.altered") == 1


def test_a_forged_number_does_not_keep_the_next_version_from_agents(
    relay: Relay, publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    repair = Repair(publisher)
    forge_hint(client, pool, config=999)
    version = new_version(pool, workers=4)
    tick(relay)
    tick(repair)
    tick(repair)
    version.refresh_from_db()
    assert told(client, pool)[:2] == (
        {"pool": "payments", "config": 3, "generation": 1},
        bytes(version.envelope or b""),
    )


def test_a_broken_hash_of_hints_is_made_anew(publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool) -> None:
    before = told(client, pool)
    client.set("pw:desired", "not a hash")
    tick(Repair(publisher))
    assert told(client, pool) == before


def newer(signer: CryptoSigner, pool: Pool, version: int) -> bytes:
    payload = config_payload(
        env="test",
        pool_uid=str(pool.uid),
        pool=pool.slug,
        version=version,
        prev_sha256="0" * 64,
        not_before=int(time.time()) - 60,
        expires=int(time.time()) + 3600,
        spec={},
        secrets={},
        change_id="lost with the database",
    )
    return sign(payload, CONFIG_TYPE, [signer])


def test_our_own_newer_config_is_left_alone_and_said_once(
    publisher: Publisher, signer: CryptoSigner, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    """The database was restored from a backup: the broker holds the only copy."""
    client.set(f"pw:config:{pool.uid}", newer(signer, pool, 7))
    forge_hint(client, pool, config=7)
    lies, repair = dump(client), Repair(publisher)
    with capture_logs() as logs:
        for _ in range(3):
            tick(repair)
    assert dump(client) == lies
    said = [line for line in logs if line["event"] == "repair.database_behind"]
    assert [(line["log_level"], line["pool"], line["version"], line["database"]) for line in said] == [
        ("error", "payments", 7, 2)
    ]


def test_our_own_newer_run_state_is_left_alone(
    publisher: Publisher, signer: CryptoSigner, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    payload = run_payload(
        env="test",
        pool_uid=str(pool.uid),
        pool=pool.slug,
        generation=5,
        state="draining",
        issued=int(time.time()),
        command_id="lost with the database",
    )
    client.set(f"pw:run:{pool.uid}", sign(payload, RUN_TYPE, [signer]))
    forge_hint(client, pool, generation=5)
    lies, repair = dump(client), Repair(publisher)
    tick(repair)
    tick(repair)
    assert dump(client) == lies


def test_a_stranger_s_newer_config_is_put_back(
    publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    before, repair = told(client, pool), Repair(publisher)
    client.set(f"pw:config:{pool.uid}", newer(new_signer(), pool, 7))
    forge_hint(client, pool, config=7)
    tick(repair)
    tick(repair)
    assert told(client, pool) == before


def test_what_was_published_while_it_looked_is_not_undone(
    relay: Relay, publisher: Publisher, tick: Tick, client: redis.Redis, pool: Pool, broker: Broker
) -> None:
    uid = str(pool.uid)
    stale = read_desired(broker, [uid])[uid]
    new_version(pool, workers=4)
    tick(relay)
    newest = told(client, pool)
    assert not mend_desired(broker, uid, stale, stale.desired)
    assert told(client, pool) == newest
