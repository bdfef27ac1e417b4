"""The outbox: in order for each thing, at least once, and nothing stands in another's way."""

import pytest
from django.db import OperationalError

from pools.broker.connection import BrokerUnavailable
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.relay import Relay
from pools.models import ControllerLease, OutboxMessage

pytestmark = pytest.mark.django_db


class Receiver:
    """Takes messages; what it is told to fail on, it fails on."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.faults: dict[str, BaseException] = {}

    def __call__(self, message: OutboxMessage) -> None:
        if message.key in self.faults:
            raise self.faults[message.key]
        self.taken.append(f"{message.kind} {message.key}")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def relay(lease: LeaderLease, receiver: Receiver) -> Relay:
    return Relay(lease, {"config": receiver, "run": receiver, "operation": receiver})


def send(*messages: str) -> None:
    for message in messages:
        kind, key = message.split()
        OutboxMessage.objects.create(kind=kind, key=key)


def waiting() -> list[str]:
    return list(OutboxMessage.objects.filter(published_at=None).values_list("key", flat=True))


def test_messages_go_in_order_and_once(relay: Relay, receiver: Receiver) -> None:
    send("config a:1", "run a:1", "config b:1", "operation 7")
    relay.tick()
    relay.tick()
    assert receiver.taken == ["config a:1", "run a:1", "config b:1", "operation 7"]
    assert waiting() == []


def test_a_poison_message_holds_back_its_own_pool_and_no_other(relay: Relay, receiver: Receiver) -> None:
    receiver.faults["a:1"] = ValueError("no such \x00 spec")
    send("config a:1", "run a:2", "config a:3", "config b:1", "operation 7")
    relay.tick()
    assert receiver.taken == ["config b:1", "operation 7"]
    assert waiting() == ["a:1", "a:2", "a:3"]
    held = OutboxMessage.objects.get(key="a:1")
    assert (held.attempts, held.last_error) == (1, "ValueError: no such  spec")
    relay.tick()
    assert OutboxMessage.objects.get(key="a:1").attempts == 1, "it waits before it is tried again"


def test_an_unknown_kind_is_poison_too(relay: Relay, receiver: Receiver) -> None:
    send("riddle a:1", "config b:1")
    relay.tick()
    assert receiver.taken == ["config b:1"]
    assert OutboxMessage.objects.get(kind="riddle").last_error == "KeyError: 'riddle'"


def test_once_mended_they_go_in_the_old_order(relay: Relay, receiver: Receiver, lease: LeaderLease) -> None:
    receiver.faults["a:1"] = ValueError("broken")
    send("config a:1", "run a:2")
    relay.tick()
    receiver.faults.clear()
    Relay(lease, {"config": receiver, "run": receiver}).tick()
    assert receiver.taken == ["config a:1", "run a:2"]
    assert OutboxMessage.objects.get(key="a:1").last_error == ""


@pytest.mark.parametrize("outage", [BrokerUnavailable("default", "it is away"), OperationalError("it is away")])
def test_an_outage_ends_the_tick_and_loses_nothing(relay: Relay, receiver: Receiver, outage: Exception) -> None:
    receiver.faults["b:1"] = outage
    send("config a:1", "config b:1", "config c:1")
    with pytest.raises(type(outage)):
        relay.tick()
    assert waiting() == ["b:1", "c:1"]
    receiver.faults.clear()
    relay.tick()
    assert receiver.taken == ["config a:1", "config b:1", "config c:1"]


def test_killed_after_publishing_it_publishes_again(relay: Relay, receiver: Receiver, lease: LeaderLease) -> None:
    class Killed(BaseException):
        pass

    def publish_and_die(message: OutboxMessage) -> None:
        receiver(message)
        raise Killed

    send("config a:1")
    with pytest.raises(Killed):
        Relay(lease, {"config": publish_and_die}).tick()
    relay.tick()
    assert receiver.taken == ["config a:1", "config a:1"]


def test_a_replaced_leader_marks_nothing(relay: Relay, receiver: Receiver, lease: LeaderLease) -> None:
    send("config a:1", "config b:1")
    ControllerLease.objects.update(holder="somebody else")
    with pytest.raises(LeaseLost):
        relay.tick()
    assert waiting() == ["a:1", "b:1"]
    lease.release()
    with pytest.raises(LeaseLost):
        relay.tick()
    assert receiver.taken == ["config a:1"], "it published once before it learnt of it, and nothing after"
