"""Desired state: the envelope and its hint change together, and an older one never replaces a newer."""

import json
import threading
from typing import Any

import pytest
import redis

from pools.broker.connection import Broker
from pools.broker.publish import publish_config, publish_run, queue_lengths

UID = "5b0c0d6e"


def desired(client: redis.Redis, prefix: str = "pw") -> Any:
    return json.loads(client.hget(f"{prefix}:desired", UID) or "null")


def test_config_and_run_state_share_a_hint(broker: Broker, client: redis.Redis) -> None:
    assert publish_config(broker, UID, "stdlib-parse", 1, 0, b'{"payload":"\xc3\xa9"}')
    assert client.get(f"pw:config:{UID}") == b'{"payload":"\xc3\xa9"}'
    assert desired(client) == {"pool": "stdlib-parse", "config": 1, "generation": 0}
    assert publish_run(broker, UID, "stdlib-parse", 1, 1, b"run")
    assert client.get(f"pw:run:{UID}") == b"run"
    assert desired(client) == {"pool": "stdlib-parse", "config": 1, "generation": 1}


def test_an_older_version_never_replaces_a_newer(broker: Broker, client: redis.Redis) -> None:
    assert publish_config(broker, UID, "p", 7, 3, b"seven")
    assert not publish_config(broker, UID, "p", 6, 3, b"six")
    assert client.get(f"pw:config:{UID}") == b"seven"
    assert publish_run(broker, UID, "p", 6, 4, b"run 4"), "a config that is behind does not hold up a run state"
    assert not publish_run(broker, UID, "p", 7, 3, b"run 3")
    assert client.get(f"pw:run:{UID}") == b"run 4"
    assert desired(client) == {"pool": "p", "config": 7, "generation": 4}


def test_the_same_version_again_repairs_the_envelope(broker: Broker, client: redis.Redis) -> None:
    publish_config(broker, UID, "p", 7, 0, b"seven")
    client.set(f"pw:config:{UID}", b"seveN")
    assert publish_config(broker, UID, "p", 7, 0, b"seven")
    assert client.get(f"pw:config:{UID}") == b"seven"


@pytest.mark.parametrize(
    "hint", [b"{", b"[]", b"7", b"null", b'{"config":"x","generation":[]}', b'{"config":null}', b""]
)
def test_a_broken_hint_is_replaced(broker: Broker, client: redis.Redis, hint: bytes) -> None:
    client.hset("pw:desired", UID, hint)
    assert publish_config(broker, UID, "p", 2, 1, b"two")
    assert desired(client) == {"pool": "p", "config": 2, "generation": 1}


def test_of_many_at_once_the_newest_stays(broker: Broker, client: redis.Redis) -> None:
    versions = list(range(1, 41))
    threads = [
        threading.Thread(target=publish_config, args=(broker, UID, "p", version, 0, b"%d" % version))
        for version in sorted(versions, key=lambda version: version * 7 % 41)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get(f"pw:config:{UID}") == b"40"
    assert desired(client)["config"] == 40


def test_another_prefix_has_keys_of_its_own(broker: Broker, client: redis.Redis) -> None:
    assert publish_config(Broker("eu", broker.url, prefix="acme"), UID, "p", 1, 0, b"one")
    assert client.get(f"acme:pw:config:{UID}") == b"one"
    assert desired(client, "acme:pw")["config"] == 1
    assert desired(client) is None


def test_queue_lengths(broker: Broker, client: redis.Redis) -> None:
    client.rpush("rq:queue:mail", "a", "b")
    client.set("rq:queue:text", "not a list")
    assert queue_lengths(broker, ["mail", "bulk", "text"]) == {"mail": 2, "bulk": 0, "text": 0}
    assert queue_lengths(broker, []) == {}
