"""From failures to messages: grouping, quiet hours, the cap, and what is not told."""

from datetime import UTC, datetime, time
from typing import Any

import pytest
import redis
from django.utils import timezone

from pools.broker.connection import Broker
from pools.controller.lease import LeaderLease
from pools.controller.loop import Loop
from pools.controller.notifying.composer import Composer
from pools.controller.notifying.deliverer import Deliverer
from pools.controller.notifying.spikes import Spikes
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import (
    BrokerState,
    Criticality,
    FailureGroup,
    GroupState,
    Notice,
    NotificationChannel,
    NotificationDelivery,
    Pool,
    Team,
)
from tests.broker.records import TRACEBACK, write_failed
from tests.controller.conftest import Tick
from tests.support import factories as make
from tests.support.receivers import Hook

NOON, NIGHT = datetime(2026, 11, 23, 12, tzinfo=UTC), datetime(2026, 11, 23, 2, tzinfo=UTC)


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def composer(lease: LeaderLease, channel: NotificationChannel) -> Composer:
    return Composer(lease)


def noticed(channel: NotificationChannel, group: FailureGroup, *, ago: float = 61, occasion: str = "new") -> Notice:
    made = Notice.objects.create(channel=channel, group=group, occasion=occasion)
    Notice.objects.filter(pk=made.pk).update(at=make.ago(seconds=ago))
    return made


def messages() -> list[dict[str, Any]]:
    """Oldest first."""
    return [delivery.payload["data"] for delivery in NotificationDelivery.objects.order_by("pk")]


def titles(message: dict[str, Any]) -> list[str]:
    return [group["title"] for group in message["groups"]]


def another(n: int) -> str:
    """A cause of its own."""
    return TRACEBACK.replace("ValueError", f"Odd{chr(65 + n % 26)}{chr(65 + n // 26)}Error")


@pytest.fixture
def pipeline(lease: LeaderLease, broker: Broker) -> list[Loop]:
    """From the broker to the receiver."""
    return [Sampler(lease), Scanner(lease), Spikes(lease), Composer(lease), Deliverer(lease)]


def run(tick: Tick, pipeline: list[Loop]) -> None:
    """All that is due, a minute later."""
    for loop in pipeline:
        if isinstance(loop, Composer):
            Notice.objects.filter(delivery=None).update(at=make.ago(seconds=61))
        while tick(loop):
            pass


def test_ten_thousand_failures_of_one_cause_are_one_message(
    pipeline: list[Loop], tick: Tick, client: redis.Redis, hook: Hook, channel: NotificationChannel
) -> None:
    for start in range(0, 10_000, 2_000):
        write_failed(client, *(f"job-{n}" for n in range(start, start + 2_000)), queue="payments")
        run(tick, pipeline)
    assert len(hook.requests) == 1
    assert FailureGroup.objects.get().total_count == 10_000
    Notice.objects.update(at=make.ago(minutes=30))
    run(tick, pipeline)
    assert len(hook.requests) == 1


def test_what_failed_before_the_installation_is_one_message(
    pipeline: list[Loop], tick: Tick, client: redis.Redis, hook: Hook, channel: NotificationChannel
) -> None:
    BrokerState.objects.update(scanned_at=None)
    for n in range(60):
        write_failed(client, f"job-{n}", queue="payments", traceback=another(n))
    composer = pipeline[3]
    tick(pipeline[0])
    Notice.objects.update(at=make.ago(seconds=61))
    tick(composer)
    assert messages() == []  # not before the whole was looked at
    run(tick, pipeline)
    (message,) = messages()
    assert message["title"] == "60 new failure groups in payments" and message["more"] == 50
    assert len(hook.requests) == 1


def test_a_resolved_group_that_fails_again_is_told_again(
    pipeline: list[Loop], tick: Tick, client: redis.Redis, hook: Hook, channel: NotificationChannel
) -> None:
    write_failed(client, "job-1", queue="payments")
    run(tick, pipeline)
    FailureGroup.objects.update(state=GroupState.RESOLVED)
    write_failed(client, "job-2", queue="payments")
    run(tick, pipeline)
    write_failed(client, "job-3", queue="payments")
    run(tick, pipeline)
    assert [message["title"].partition(" in ")[0] for message in messages()] == ["New failure group", "Regression"]


def test_what_comes_within_a_minute_is_one_message(
    composer: Composer, tick: Tick, pool: Pool, channel: NotificationChannel
) -> None:
    noticed(channel, make.failure_group(pool, "A"), ago=50)
    tick(composer)
    assert messages() == []
    noticed(channel, make.failure_group(pool, "B"), ago=61)
    tick(composer)
    tick(composer)
    (message,) = messages()
    assert sorted(titles(message)) == ["A", "B"]


def test_each_channel_has_a_message_of_its_own(
    composer: Composer, tick: Tick, pool: Pool, team: Team, channel: NotificationChannel
) -> None:
    other, group = make.channel(team, "second"), make.failure_group(pool)
    for one in (channel, other):
        noticed(one, group)
    tick(composer)
    assert sorted(message["channel"] for message in messages()) == ["oncall", "second"]


def test_beyond_the_cap_it_waits_and_the_next_message_says_how_many(
    composer: Composer, tick: Tick, pool: Pool, channel: NotificationChannel
) -> None:
    NotificationChannel.objects.update(per_hour=2)
    for n in range(5):
        noticed(channel, make.failure_group(pool, f"E{n}"))
        tick(composer)
    assert [titles(message) for message in messages()] == [["E0"], ["E1"]]
    NotificationDelivery.objects.update(created_at=make.ago(minutes=61))
    noticed(channel, make.failure_group(pool, "E5"))
    tick(composer)
    *_, message = messages()
    assert len(messages()) == 3 and message["held_back"] == {"cap": 3, "quiet_hours": 0}
    assert sorted(titles(message)) == ["E2", "E3", "E4", "E5"]


@pytest.mark.parametrize(
    ("start", "end", "zone", "moment", "quiet"),
    [
        (time(22), time(7), "UTC", NIGHT, True),
        (time(22), time(7), "UTC", NOON, False),
        (time(22), time(7), "UTC", NOON.replace(hour=22), True),
        (time(22), time(7), "UTC", NOON.replace(hour=7), False),
        (time(8), time(17), "UTC", NOON, True),
        (time(8), time(17), "UTC", NOON.replace(hour=17), False),
        (time(8), time(17), "America/Los_Angeles", NOON, False),
        (time(1), time(6), "America/Los_Angeles", NOON, True),
        (None, None, "UTC", NIGHT, False),
    ],
)
def test_quiet_hours(start: time | None, end: time | None, zone: str, moment: datetime, quiet: bool) -> None:
    channel = NotificationChannel(quiet_from=start, quiet_to=end, quiet_zone=zone)
    assert channel.is_quiet(moment) is quiet


def always_quiet(channel: NotificationChannel) -> None:
    """From this hour of the clock to the hour before it."""
    hour = timezone.now().hour
    channel.quiet_from, channel.quiet_to = time(hour), time((hour + 23) % 24)
    channel.save()


def test_in_quiet_hours_critical_pools_get_through_and_the_rest_waits(
    composer: Composer, tick: Tick, pool: Pool, team: Team, channel: NotificationChannel
) -> None:
    always_quiet(channel)
    critical = make.pool(team, "ledger", criticality=Criticality.CRITICAL)
    noticed(channel, make.failure_group(pool, "Later"))
    noticed(channel, make.failure_group(critical, "Now"))
    tick(composer)
    assert [titles(message) for message in messages()] == [["Now"]]
    NotificationChannel.objects.update(quiet_from=None, quiet_to=None)
    tick(composer)
    *_, message = messages()
    assert titles(message) == ["Later"] and message["held_back"]["quiet_hours"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"snoozed_until": timezone.datetime(2099, 1, 1, tzinfo=UTC)},
        {"state": GroupState.RESOLVED},
        {"total_count": 0},
    ],
    ids=["snoozed", "resolved", "of another group by now"],
)
def test_what_is_not_worth_it_any_more_is_not_told(
    composer: Composer, tick: Tick, pool: Pool, channel: NotificationChannel, change: dict[str, Any]
) -> None:
    noticed(channel, make.failure_group(pool, **change))
    tick(composer)
    assert messages() == [] and not Notice.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"enabled": False},
        {"occasions": ["spike"]},
        {"min_criticality": Criticality.CRITICAL},
        {"pool": "other"},
        {"team": "other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_channel_hears_only_what_it_asked_for(
    pipeline: list[Loop],
    tick: Tick,
    client: redis.Redis,
    team: Team,
    channel: NotificationChannel,
    change: dict[str, Any],
) -> None:
    stranger = Team.objects.create(slug="elsewhere", name="Elsewhere")
    if "pool" in change:
        change = {"pool": make.pool(team, "refunds", queues=["refunds"])}
    if "team" in change:
        change = {"team": stranger}
    NotificationChannel.objects.filter(pk=channel.pk).update(**change)
    write_failed(client, "job-1", queue="payments")
    run(tick, pipeline)
    assert FailureGroup.objects.exists() and not Notice.objects.exists() and messages() == []


def test_a_pool_that_became_another_teams_is_not_told_to_the_old_one(
    composer: Composer, tick: Tick, pool: Pool, channel: NotificationChannel
) -> None:
    noticed(channel, make.failure_group(pool))
    Pool.objects.update(team=Team.objects.create(slug="elsewhere", name="Elsewhere"))
    tick(composer)
    assert messages() == [] and not Notice.objects.exists()
