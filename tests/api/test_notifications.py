"""Notification channels over the API."""

from typing import Any

import pytest

from audit.models import Event
from pools.models import DeliveryState, NotificationChannel, NotificationDelivery, Pool
from tests.api.calling import Caller, problem
from tests.support import factories as make
from tests.support.cast import Cast

PATH = "notification-channels"
HOOK: dict[str, Any] = {"kind": "webhook", "url": "https://hooks.example.com/pw"}
NEW: dict[str, Any] = {"name": "payments-hook", "team": "payments"} | HOOK
FULL: dict[str, Any] = {
    "kind": "email",
    "recipients": ["bob@example.com"],
    "pool": "payments",
    "occasions": ["spike", "new"],
    "min_criticality": "critical",
    "quiet_from": "22:00",
    "quiet_to": "07:30",
    "quiet_zone": "Europe/Berlin",
    "per_hour": 3,
    "enabled": False,
}


@pytest.fixture
def channel(cast: Cast) -> NotificationChannel:
    return make.channel(cast.payments)


def test_from_new_to_removed(alice: Caller, payments: Pool) -> None:
    made = alice.post(PATH, NEW)
    assert made.status_code == 201
    assert made.json() == {
        "name": "payments-hook",
        "team": "payments",
        "pool": None,
        "kind": "webhook",
        "url": "https://hooks.example.com/pw",
        "recipients": [],
        "occasions": ["new", "regressed", "spike"],
        "min_criticality": "low",
        "quiet_from": None,
        "quiet_to": None,
        "quiet_zone": "UTC",
        "per_hour": 12,
        "enabled": True,
        "revision": 1,
    }
    changed = alice.post(f"{PATH}/payments-hook", FULL | {"expected_version": 1}).json()
    assert changed == made.json() | FULL | {"url": "", "occasions": ["new", "spike"], "revision": 2}
    assert alice.get(f"{PATH}/payments-hook").json() == changed
    assert alice.items(PATH) == [changed]
    assert alice.post(f"{PATH}/payments-hook/remove", {"reason": "Moved"}).json() == changed
    problem(alice.get(f"{PATH}/payments-hook"), 404)


def test_a_test_message_and_what_became_of_it(alice: Caller, channel: NotificationChannel) -> None:
    sent = alice.post(f"{PATH}/oncall/test")
    assert sent.status_code == 201 and sent.json()["state"] == "waiting"
    assert sent.json()["message"]["type"] == "test"
    NotificationDelivery.objects.update(state=DeliveryState.DELIVERED, attempts=1)
    (found,) = alice.items(f"{PATH}/oncall/deliveries")
    assert (found["id"], found["state"], found["attempts"]) == (sent.json()["id"], "delivered", 1)


def test_a_test_sent_again_with_its_key_is_one(alice: Caller, channel: NotificationChannel) -> None:
    first, second = (alice.post(f"{PATH}/oncall/test", key="t1") for _ in range(2))
    assert first.json() == second.json() and second["Idempotent-Replayed"] == "true"
    assert NotificationDelivery.objects.count() == 1


def test_deliveries_page_by_cursor(alice: Caller, channel: NotificationChannel) -> None:
    for n in range(5):
        channel.deliveries.create(payload={"type": "test", "data": {"title": str(n)}})
    pages = alice.all_pages(f"{PATH}/oncall/deliveries", 2)
    assert [[row["message"]["data"]["title"] for row in page] for page in pages] == [["4", "3"], ["2", "1"], ["0"]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "With Space"}, "name"),
        ({"team": "elsewhere"}, "team"),
        ({"kind": "pigeon"}, "kind"),
        ({"url": "http://hooks.example.com/"}, "url"),
        ({"url": "https://user:secret@hooks.example.com/"}, "url"),
        ({"pool": "refunds"}, "pool"),
        ({"occasions": []}, "occasions"),
        ({"occasions": ["new", "old"]}, "occasions.1"),
        ({"min_criticality": "extreme"}, "min_criticality"),
        ({"quiet_from": "22:00"}, "quiet_to"),
        ({"quiet_from": "9:00", "quiet_to": "22:00"}, "quiet_from"),
        ({"quiet_from": 5, "quiet_to": "22:00"}, "quiet_from"),
        ({"quiet_zone": "Mars"}, "quiet_zone"),
        ({"per_hour": 0}, "per_hour"),
        ({"per_hour": "5"}, "per_hour"),
        ({"enabled": "yes"}, "enabled"),
        ({"secret": "hunter2"}, "secret"),
        ({"kind": "email", "recipients": ["bob@example.com\r\nBcc: eve@example.com"]}, "recipients"),
        ({"kind": "email", "recipients": []}, "recipients"),
    ],
)
def test_bad_input_names_the_field(
    alice: Caller, payments: Pool, refunds: Pool, changes: dict[str, Any], field: str
) -> None:
    said = problem(alice.post(PATH, NEW | changes), 422, field)
    assert "Nothing was changed." in said["detail"]
    assert not NotificationChannel.objects.exists()


def test_a_change_on_what_is_not_true_any_more(alice: Caller, channel: NotificationChannel) -> None:
    assert problem(alice.post(f"{PATH}/oncall", HOOK | {"expected_version": 7}), 409)["current"] == 1


@pytest.mark.parametrize("person", ["bob", "vera", "otto"])
def test_who_may_not_is_refused_and_recorded(cast: Cast, channel: NotificationChannel, person: str) -> None:
    caller = Caller(getattr(cast, person))
    for path, body in ((PATH, NEW), (f"{PATH}/oncall", HOOK), (f"{PATH}/oncall/remove", {"reason": "x"})):
        before = Event.objects.count()
        assert problem(caller.post(path, body), 403)["permission"] == "pools.change_notificationchannel"
        assert Event.objects.count() == before + 1
    problem(caller.post(f"{PATH}/oncall/test"), 403)
    assert NotificationChannel.objects.get().revision == 1 and not NotificationDelivery.objects.exists()


def test_for_an_outsider_it_does_not_exist(charlie: Caller, channel: NotificationChannel) -> None:
    assert charlie.items(PATH) == []
    for path in (f"{PATH}/oncall", f"{PATH}/oncall/deliveries"):
        problem(charlie.get(path), 404)
    for path, body in ((f"{PATH}/oncall", HOOK), (f"{PATH}/oncall/remove", {"reason": "x"})):
        problem(charlie.post(path, body), 404)
    problem(charlie.post(f"{PATH}/oncall/test"), 404)
