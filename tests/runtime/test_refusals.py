"""What an agent refuses, named after the attack; each time the last good config goes on running."""

from collections.abc import Callable
from typing import Any

from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.simulator import Simulator
from tests.support.waiting import wait_for

Attack = Callable[[AgentHost, str, bytes], bytes]


def _changed_byte(host: AgentHost, uid: str, good: bytes) -> bytes:
    middle = len(good) // 2
    return good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]


def _other_pool(host: AgentHost, uid: str, good: bytes) -> bytes:
    return host.simulator.config(new_uid(), spec())


def _expired(host: AgentHost, uid: str, good: bytes) -> bytes:
    return host.simulator.config(uid, spec(workers=2), expires=host.simulator.now - 10)


def _rollback(host: AgentHost, uid: str, good: bytes) -> bytes:
    return host.simulator.config(uid, spec(workers=3), version=1)


def _stranger(host: AgentHost, uid: str, good: bytes) -> bytes:
    return Simulator(env="test").config(uid, spec(workers=2), version=3)


def _other_environment(host: AgentHost, uid: str, good: bytes) -> bytes:
    return host.simulator.config(uid, spec(workers=2), env="production")


ATTACKS: dict[str, tuple[Attack, str]] = {
    "a byte changed": (_changed_byte, ""),
    "another pool's config": (_other_pool, "wrong_pool"),
    "an expired config": (_expired, "expired"),
    "an older version": (_rollback, "version_rollback"),
    "another signer": (_stranger, "threshold_not_met"),
    "another environment": (_other_environment, "wrong_environment"),
}


def test_attacks_on_the_published_config_leave_the_last_good_one(host: AgentHost) -> None:
    """Only the envelope changes, not the hint: so would an attacker who can write to Redis do it."""
    uid = new_uid()
    host.configure(uid, spec())
    host.configure(uid, spec())
    host.start()
    before = host.wait_for_workers(uid, 1, config=2)
    good = host.valkey.client.get(host.keys.config(uid))
    assert isinstance(good, bytes)
    for name, (attack, code) in ATTACKS.items():
        host.valkey.client.set(host.keys.config(uid), attack(host, uid, good))
        refused: dict[str, Any] = wait_for(lambda: host.pool(uid)["refused"], timeout=10, message=name)
        assert refused["detail"]
        assert code in ("", refused["code"]), name
        assert host.pool(uid)["verified"] == 2
        assert host.workers(uid) == before
        host.valkey.client.set(host.keys.config(uid), good)
        wait_for(lambda: host.pool(uid)["refused"] is None, message="the good one is back")
    codes = [event["code"] for event in host.events("config.refused")]
    assert len(codes) == len(ATTACKS), "each refusal is told once, however often it is seen"
    assert {event["pool_uid"] for event in host.events("config.refused")} == {uid}


def test_rollback_is_refused_after_a_restart(host: AgentHost) -> None:
    uid = new_uid()
    old = host.simulator.config(uid, spec(workers=3))
    host.publish(uid, old, version=1)
    host.configure(uid, spec())
    host.start()
    host.wait_for_workers(uid, 1, config=2)
    host.stop()
    host.publish(uid, old, version=1)
    host.start()
    wait_for(lambda: (host.pool(uid).get("refused") or {}).get("code") == "version_rollback", message=host.log)
    host.wait_for_workers(uid, 1, config=2)


def test_state_on_disk_that_was_tampered_with_is_not_trusted(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec())
    host.start()
    host.wait_for_workers(uid, 1)
    host.stop()
    (file,) = host.state.glob("pools/*.json")
    file.write_text(file.read_text().replace('\\"payload\\":\\"ey', '\\"payload\\":\\"eY'))
    host.valkey.client.delete(host.keys.desired)
    host.start()
    refused = wait_for(lambda: host.pool(uid).get("refused"), message=host.log)
    assert refused["code"]
    assert host.heartbeat()["workers"] == []


def test_garbage_in_the_hint_does_not_stop_the_agent(host: AgentHost) -> None:
    uid = new_uid()
    client = host.valkey.client
    client.hset(host.keys.desired, "../../etc/passwd", "{}")
    client.hset(host.keys.desired, b"\xff\xfe", b"\xff")
    client.hset(host.keys.desired, new_uid(), "not json")
    host.configure(uid, spec())
    host.start()
    host.wait_for_workers(uid, 1)
