"""At least once, each attempt under one id; growing waits; a day at most; nobody waits for a slow receiver."""

import http.server
from datetime import timedelta

import pytest
from django.utils import timezone

from audit.models import Event
from audit.sentences import sentence
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.notifying.deliverer import Deliverer, _note, wait
from pools.models import ControllerLease, DeliveryState, NotificationChannel, NotificationDelivery, Team
from pools.selectors.messages import sample_message
from tests.controller.conftest import Tick
from tests.support import factories as make
from tests.support.receivers import Hook, Mailbox, hook_server, status
from tests.support.waiting import wait_for


@pytest.fixture
def deliverer(lease: LeaderLease) -> Deliverer:
    return Deliverer(lease)


def message(channel: NotificationChannel) -> NotificationDelivery:
    return channel.deliveries.create(payload=sample_message(channel, "alice", timezone.now()))


def due(delivery: NotificationDelivery, **more: object) -> None:
    NotificationDelivery.objects.filter(pk=delivery.pk).update(next_attempt_at=make.ago(seconds=1), **more)


def test_it_is_delivered_once(deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook) -> None:
    delivery = message(channel)
    assert tick(deliverer) is True and tick(deliverer) is False
    delivery.refresh_from_db()
    assert len(hook.requests) == 1
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.DELIVERED, 1, "")
    assert delivery.ended_at is not None


def test_a_failure_is_tried_again_under_the_same_id(
    deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook
) -> None:
    hook.answer = status(503)
    delivery, before = message(channel), timezone.now()
    tick(deliverer)
    assert tick(deliverer) is False  # not due yet
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.WAITING, 1, "It answered 503")
    assert timedelta(seconds=9) < delivery.next_attempt_at - before < timedelta(seconds=60)
    due(delivery)
    hook.answer = status(204)
    tick(deliverer)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_error) == (DeliveryState.DELIVERED, 2, "")
    first, second = hook.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery.message_id
    assert first.body == second.body


def test_waits_grow_to_an_hour() -> None:
    assert [wait(n).total_seconds() for n in (0, 1, 2, 8, 9, 500)] == [10, 20, 40, 2560, 3600, 3600]


def test_after_a_day_it_is_given_up_and_recorded(
    deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook
) -> None:
    hook.answer = status(500)
    delivery = message(channel)
    due(delivery, created_at=make.ago(hours=25), attempts=30)
    tick(deliverer)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.GIVEN_UP, 31)
    (event,) = Event.objects.filter(action="notification.given_up")
    assert sentence(event) == "Controller gave up a message over oncall: It answered 500"
    assert tick(deliverer) is False


def test_a_leader_that_is_replaced_between_sending_and_noting_leaves_it_to_its_successor(
    deliverer: Deliverer, lease: LeaderLease, channel: NotificationChannel, hook: Hook
) -> None:
    delivery = message(channel)
    ControllerLease.objects.update(holder="another:1")  # this process does not know yet
    with pytest.raises(LeaseLost):
        deliverer.tick()
    delivery.refresh_from_db()
    assert len(hook.requests) == 1 and delivery.state == DeliveryState.WAITING
    ControllerLease.objects.update(holder="", expires_at=make.ago(seconds=1))
    successor = LeaderLease()
    assert successor.renew()
    Deliverer(successor).tick()
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.DELIVERED
    assert len({request.headers["webhook-id"] for request in hook.requests}) == 1 and len(hook.requests) == 2


def test_who_does_not_lead_sends_nothing(
    deliverer: Deliverer, lease: LeaderLease, channel: NotificationChannel, hook: Hook
) -> None:
    message(channel)
    lease.release()
    with pytest.raises(LeaseLost):
        deliverer.tick()
    assert hook.connections == 0


def test_a_slow_receiver_delays_nobody_else(
    deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook, team: Team, mailbox: Mailbox
) -> None:
    """The slow one answers when the others have got theirs: one after the other they would wait for ever."""
    others = [make.channel(team, f"mail-{n}", kind="email", recipients=[f"n{n}@example.com"]) for n in range(5)]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        wait_for(lambda: len(mailbox.mails) == 5, timeout=4, message="the others have theirs")
        status(204)(handler)

    hook.answer = answer
    for one in (channel, *others):
        message(one)
    tick(deliverer)
    assert NotificationDelivery.objects.filter(state=DeliveryState.DELIVERED).count() == 6


def test_a_message_that_fails_does_not_hold_back_the_next(
    deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook
) -> None:
    hook.answer = status(500)
    first, second = message(channel), message(channel)
    tick(deliverer)
    hook.answer = status(204)
    tick(deliverer)
    states = dict(NotificationDelivery.objects.values_list("pk", "state"))
    assert states == {first.pk: DeliveryState.WAITING, second.pk: DeliveryState.DELIVERED}


def test_a_channel_that_is_switched_off_keeps_its_messages(
    deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook
) -> None:
    message(channel)
    NotificationChannel.objects.update(enabled=False)
    assert tick(deliverer) is False and hook.connections == 0


def test_a_message_that_waits_goes_where_the_channel_points_now(
    deliverer: Deliverer, tick: Tick, channel: NotificationChannel, hook: Hook
) -> None:
    message(channel)
    with hook_server() as other:
        NotificationChannel.objects.update(url=other.url("/new"))
        tick(deliverer)
        assert [request.path for request in other.requests] == ["/new"] and hook.connections == 0


def test_a_channel_that_was_removed_meanwhile_is_no_fault(
    channel: NotificationChannel,
) -> None:
    delivery = message(channel)
    due(delivery, created_at=make.ago(hours=25))
    (row,) = NotificationDelivery.objects.select_related("channel__pool")
    channel.delete()
    _note(row, "It answered 500", timezone.now())
    assert not Event.objects.filter(action="notification.given_up").exists()
