"""The page of notification channels, and what is refused there."""

from datetime import time
from typing import Any

import pytest
from django.utils import timezone
from guardian.shortcuts import assign_perm
from pytest_django import Settings

from audit.models import Event
from audit.sentences import sentence
from pools.models import DeliveryState, Notice, NotificationChannel, NotificationDelivery, Pool
from pools.selectors.messages import sample_message
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

HOOK = {
    "name": "payments-hook",
    "team": "payments",
    "kind": "webhook",
    "url": "https://hooks.example.com/pw",
    "recipients": "",
    "pool": "",
    "min_criticality": "standard",
    "on_new": "on",
    "on_spike": "on",
    "quiet_from": "22:00",
    "quiet_to": "07:00",
    "quiet_zone": "Europe/Berlin",
    "per_hour": "6",
    "enabled": "on",
}
MAIL = HOOK | {"kind": "email", "url": "", "recipients": "bob@example.com\r\n\r\nalice@example.com\r\nbob@example.com"}
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def channel(cast: Cast) -> NotificationChannel:
    make.pool(cast.payments)
    return make.channel(cast.payments)


def test_a_webhook_is_added(cast: Cast) -> None:
    response = signed_in(cast.alice).post("/notifications/new/", HOOK, follow=True)
    assert response.redirect_chain == [("/notifications/", 302)]
    made = NotificationChannel.objects.get()
    assert (made.url, made.occasions, made.recipients) == (HOOK["url"], ["new", "spike"], [])
    assert (made.quiet_from, made.quiet_to, made.per_hour) == (time(22), time(7), 6)
    page = response.content.decode()
    for part in ("payments-hook", HOOK["url"], "New groups, spikes of all pools", "quiet 22:00 to 07:00 Europe/Berlin"):
        assert part in page
    event = Event.objects.get()
    assert sentence(event) == "alice created notification channel payments-hook"
    assert event.after["url"] == HOOK["url"] and event.after["recipients"] == 0


def test_mail_is_added_and_the_log_keeps_no_address(cast: Cast) -> None:
    assert signed_in(cast.alice).post("/notifications/new/", MAIL).status_code == 302
    made = NotificationChannel.objects.get()
    assert (made.recipients, made.url) == (["bob@example.com", "alice@example.com"], "")
    event = Event.objects.get()
    assert event.after["recipients"] == 2 and event.after["mail_domains"] == ["example.com"]
    assert b"bob@" not in bytes(event.leaf)


@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        ({"name": "With Space"}, "name", "small letters"),
        ({"name": "a_b"}, "name", "small letters"),
        ({"name": "a--b"}, "name", "small letters"),
        ({"name": "a\r\nBcc: x"}, "name", "small letters"),
        ({"name": HOSTILE}, "name", "small letters"),
        ({"name": "x" * 51}, "name", "at most 50"),
        ({"team": "elsewhere"}, "team", "valid choice"),
        ({"kind": "pigeon"}, "kind", "valid choice"),
        ({"url": ""}, "url", "whole https address"),
        ({"url": "hooks.example.com"}, "url", "whole https address"),
        ({"url": "http://hooks.example.com/"}, "url", "must begin with https"),
        ({"url": "http://localhost/"}, "url", "must begin with https"),
        ({"url": "ftp://hooks.example.com/"}, "url", "whole https address"),
        ({"url": "javascript:alert(1)"}, "url", "whole https address"),
        ({"url": "https://user:secret@hooks.example.com/"}, "url", "no password"),
        ({"url": "https://hooks.example.com/?token=secret"}, "url", "no password, query"),
        ({"url": "https://hooks.example.com/#x"}, "url", "fragment"),
        ({"url": "https://hooks.example.com/a b"}, "url", "whole https address"),
        ({"url": "https://hooks.example.com/\r\nX: y"}, "url", "whole https address"),
        ({"url": "https://hooks.example.com:99999/"}, "url", "whole https address"),
        ({"url": "https://[::1/"}, "url", "whole https address"),
        ({"url": "https://h\u00f6oks.example/"}, "url", "ASCII"),
        ({"url": "https://hooks.example/" + "x" * 500}, "url", "at most 500"),
        ({"kind": "email", "recipients": ""}, "recipients", "1 to 20"),
        ({"kind": "email", "recipients": "nobody"}, "recipients", "no mail address"),
        ({"kind": "email", "recipients": "bob@example.com, eve@example.com"}, "recipients", "no mail address"),
        ({"kind": "email", "recipients": '"a\tb"@example.com'}, "recipients", "mail address"),
        ({"kind": "email", "recipients": "\n".join(f"n{n}@e.com" for n in range(21))}, "recipients", "1 to 20"),
        ({"pool": "refunds"}, "pool", "valid choice"),
        ({"min_criticality": "extreme"}, "min_criticality", "valid choice"),
        ({"quiet_from": "25:00"}, "quiet_from", "valid time"),
        ({"quiet_to": ""}, "quiet_to", "another end"),
        ({"quiet_to": "22:00"}, "quiet_to", "another end"),
        ({"quiet_zone": "Mars/Olympus"}, "quiet_zone", "Europe/Berlin"),
        ({"quiet_zone": "../../etc/passwd"}, "quiet_zone", "Europe/Berlin"),
        ({"per_hour": "0"}, "per_hour", "greater than or equal to 1"),
        ({"per_hour": "61"}, "per_hour", "less than or equal to 60"),
    ],
)
def test_bad_input_is_named_beside_its_field(cast: Cast, sent: dict[str, str], field: str, said: str) -> None:
    response = signed_in(cast.alice).post("/notifications/new/", HOOK | sent)
    content = response.content.decode()
    beside = content.partition(f'id="id_{field}_error"')[2].partition("</p>")[0]
    assert response.status_code == 422 and said in beside, beside
    assert "<script>alert" not in content
    assert not NotificationChannel.objects.exists() and not Event.objects.exists()


def test_one_occasion_at_least(cast: Cast) -> None:
    sent = {name: value for name, value in HOOK.items() if not name.startswith("on_")}
    response = signed_in(cast.alice).post("/notifications/new/", sent)
    assert response.status_code == 422 and "Choose at least one of" in response.content.decode()


def test_loopback_needs_no_tls_where_webhooks_may_be_private(cast: Cast, settings: Settings) -> None:
    settings.POOLWARDEN_WEBHOOK_PRIVATE = True
    assert signed_in(cast.alice).post("/notifications/new/", HOOK | {"url": "http://localhost:9/"}).status_code == 302
    again = HOOK | {"name": "other", "url": "http://10.0.0.1/"}
    assert signed_in(cast.alice).post("/notifications/new/", again).status_code == 422


def test_a_name_is_taken_once(cast: Cast, channel: NotificationChannel) -> None:
    response = signed_in(cast.alice).post("/notifications/new/", HOOK | {"name": "oncall"})
    assert response.status_code == 422 and "already" in response.content.decode()


def test_changing(cast: Cast, channel: NotificationChannel) -> None:
    alice = signed_in(cast.alice)
    assert 'value="https://hooks.example/"' in alice.get("/notifications/oncall/edit/").content.decode()
    sent = HOOK | {"expected_version": "1", "pool": "payments"}
    assert alice.post("/notifications/oncall/edit/", sent).status_code == 302
    channel.refresh_from_db()
    assert (channel.url, channel.revision, channel.pool and channel.pool.slug) == (HOOK["url"], 2, "payments")
    event = Event.objects.get()
    assert sentence(event).startswith("alice changed url, pool, occasions, min_criticality, quiet_from")
    assert event.before["url"] == "https://hooks.example/" and event.pool == "payments"
    assert alice.post("/notifications/oncall/edit/", sent).status_code == 409
    assert Event.objects.count() == 1


def test_saving_what_is_so_already_changes_nothing(cast: Cast, channel: NotificationChannel) -> None:
    alice = signed_in(cast.alice)
    alice.post("/notifications/oncall/edit/", HOOK)
    alice.post("/notifications/oncall/edit/", HOOK)
    channel.refresh_from_db()
    assert channel.revision == 2 and Event.objects.count() == 1


def test_switching_off_forgets_what_waits(cast: Cast, channel: NotificationChannel) -> None:
    group = make.failure_group(make.pool(cast.payments, "refunds"))
    Notice.objects.create(channel=channel, group=group, occasion="new")
    sent = {name: value for name, value in HOOK.items() if name != "enabled"}
    signed_in(cast.alice).post("/notifications/oncall/edit/", sent)
    assert not Notice.objects.exists()
    assert "Switched off" in signed_in(cast.alice).get("/notifications/").content.decode()


def test_removing_needs_a_reason(cast: Cast, channel: NotificationChannel) -> None:
    alice = signed_in(cast.alice)
    assert alice.post("/notifications/oncall/remove/", {"reason": ""}).status_code == 422
    assert NotificationChannel.objects.exists() and not Event.objects.exists()
    assert alice.post("/notifications/oncall/remove/", {"reason": "Moved"}).status_code == 302
    assert not NotificationChannel.objects.exists()
    assert (Event.objects.get().action, Event.objects.get().reason) == ("notification.channel_removed", "Moved")


def test_a_test_message_is_stored_and_recorded(cast: Cast, channel: NotificationChannel) -> None:
    alice = signed_in(cast.alice)
    assert alice.get("/notifications/oncall/test/").status_code == 200
    assert not NotificationDelivery.objects.exists()
    assert alice.post("/notifications/oncall/test/", {}).status_code == 302
    delivery = NotificationDelivery.objects.get()
    assert (delivery.state, delivery.payload["data"]["asked_by"]) == (DeliveryState.WAITING, "alice")
    assert sentence(Event.objects.get()) == "alice asked for a test message over oncall"
    again = alice.post("/notifications/oncall/test/", {})
    assert again.status_code == 422 and "on its way already" in again.content.decode()
    NotificationDelivery.objects.update(state=DeliveryState.DELIVERED)
    NotificationChannel.objects.update(per_hour=1)
    assert "messages of this hour" in alice.post("/notifications/oncall/test/", {}).content.decode()
    NotificationChannel.objects.update(enabled=False, per_hour=9)
    assert "switched off" in alice.post("/notifications/oncall/test/", {}).content.decode()
    assert NotificationDelivery.objects.count() == 1 and Event.objects.count() == 1


def test_the_page_says_what_does_not_arrive(cast: Cast, channel: NotificationChannel) -> None:
    payload = sample_message(channel, "alice", timezone.now())
    channel.deliveries.create(payload=payload, attempts=3, last_error=f"It answered 500 {HOSTILE}")
    content = signed_in(cast.vera).get("/notifications/").content.decode()
    assert "Not arriving" in content and "It answered 500" in content and "tried 3 times" in content
    assert HOSTILE not in content and "Add a channel" in content and "pools.change_notificationchannel" in content


@pytest.mark.parametrize("person", ["vera", "bob", "otto"])
@pytest.mark.parametrize(
    ("path", "sent", "action"),
    [
        ("/notifications/new/", HOOK, "notification.channel_created"),
        ("/notifications/oncall/edit/", HOOK, "notification.channel_changed"),
        ("/notifications/oncall/remove/", {"reason": "Because"}, "notification.channel_removed"),
        ("/notifications/oncall/test/", {}, "notification.test_requested"),
    ],
)
def test_who_may_not_is_refused_and_recorded(
    cast: Cast, channel: NotificationChannel, person: str, path: str, sent: dict[str, Any], action: str
) -> None:
    client = signed_in(getattr(cast, person))
    page = client.get(path).content.decode()
    assert "pools.change_notificationchannel" in page and 'name="url"' not in page
    assert client.post(path, sent).status_code == 403
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name) == (action, "denied", person)
    assert list(NotificationChannel.objects.values_list("url", flat=True)) == ["https://hooks.example/"]
    assert not NotificationDelivery.objects.exists()


def test_an_operator_of_another_team_may_not_touch_it(cast: Cast, channel: NotificationChannel) -> None:
    charlie = signed_in(cast.charlie)
    for verb in ("edit", "remove", "test"):
        assert charlie.get(f"/notifications/oncall/{verb}/").status_code == 404
        assert charlie.post(f"/notifications/oncall/{verb}/", HOOK | {"reason": "Mine"}).status_code == 404
    assert "oncall" not in charlie.get("/notifications/").content.decode()
    assert charlie.post("/notifications/new/", HOOK | {"team": "payments"}).status_code == 422
    assert charlie.post("/notifications/new/", HOOK | {"team": "elsewhere", "pool": "payments"}).status_code == 422
    assert NotificationChannel.objects.count() == 1 and not NotificationDelivery.objects.exists()


def test_who_sees_one_pool_without_a_role_in_the_team_sees_none_of_its_channels(
    cast: Cast, channel: NotificationChannel
) -> None:
    """Its messages tell of the team's other pools as well."""
    assign_perm("view_pool", cast.charlie, Pool.objects.get())
    charlie = signed_in(cast.charlie)
    assert charlie.get("/pools/payments/").status_code == 200
    assert "hooks.example" not in charlie.get("/notifications/").content.decode()
    assert "hooks.example" in signed_in(cast.vera).get("/notifications/").content.decode()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("rest", ["", "new/", "oncall/edit/", "oncall/remove/", "oncall/test/"])
def test_other_methods_are_not_answered(cast: Cast, channel: NotificationChannel, rest: str, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)(f"/notifications/{rest}").status_code == 405


def test_without_a_channel_the_page_says_so(cast: Cast) -> None:
    content = signed_in(cast.vera).get("/notifications/").content.decode()
    assert "Nobody is told" in content and "No message yet" in content
