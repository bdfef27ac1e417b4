"""What is a spike: a table of cases, and the groups that are told."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pools.controller.lease import LeaderLease
from pools.controller.notifying.spikes import DAY, Spikes, usual
from pools.models import FailureGroup, GroupState, Notice, NotificationChannel, Occasion, Pool
from tests.controller.conftest import Tick
from tests.support import factories as make

CASES = [
    ("nothing is known of a group that is new", [], None),
    ("nor after five hours", [9] * 5, None),
    ("after six there is a baseline", [9] * 6, 45),
    ("a group that hardly fails has the floor", [0] * DAY, 20),
    ("and so has one that fails a little", [4] * DAY, 20),
    ("five times the usual hour", [100] * DAY, 500),
    ("the usual hour is the median: one bad hour yesterday says nothing", [10] * 20 + [9000] + [10] * 3, 50),
    ("half a number is rounded down", [4, 5] * 12, 22),
    ("what comes every night at this hour is usual up to twice as much", [600] + [0] * 23, 1200),
    ("an hour before that is not this hour", [0, 600] + [0] * 22, 20),
    ("without a whole day there is no yesterday", [600] + [0] * 22, 20),
]


@pytest.mark.parametrize(("before", "limit"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_most_that_is_no_spike(before: list[int], limit: int | None) -> None:
    assert usual(before) == limit


@pytest.fixture
def spikes(lease: LeaderLease, channel: NotificationChannel) -> Spikes:
    return Spikes(lease)


def group(pool: Pool, *counts: int, hours: int = 30, **more: object) -> FailureGroup:
    """Failures an hour, this hour last."""
    made = make.failure_group(pool, first_seen=timezone.now() - timedelta(hours=hours), **more)
    make.failure_hours(made, *counts)
    return made


def told() -> list[FailureGroup]:
    return [notice.group for notice in Notice.objects.filter(occasion=Occasion.SPIKE).order_by("pk")]


def test_a_group_that_fails_far_more_than_usual_is_told_once(spikes: Spikes, tick: Tick, pool: Pool) -> None:
    spiking = group(pool, *[10] * 24, 51)
    group(pool, *[10] * 24, 50)
    group(pool, *[1] * 24, 20)
    for _ in range(3):
        tick(spikes)
    assert told() == [spiking]
    Notice.objects.update(at=make.ago(hours=7))
    tick(spikes)
    assert told() == [spiking]  # it still waits to be told
    Notice.objects.update(delivery=delivery(Notice.objects.get().channel))
    tick(spikes)
    assert told() == [spiking, spiking]


def delivery(channel: NotificationChannel) -> int:
    return channel.deliveries.create(payload={"type": "failures", "data": {"title": "x"}}).pk


def test_who_was_just_told_for_another_reason_is_not_told_again(
    spikes: Spikes, tick: Tick, pool: Pool, channel: NotificationChannel
) -> None:
    returned = group(pool, *[10] * 24, 900)
    Notice.objects.create(channel=channel, group=returned, occasion=Occasion.REGRESSED)
    tick(spikes)
    assert told() == []


@pytest.mark.parametrize(
    "more",
    [
        {"state": GroupState.RESOLVED},
        {"snoozed_total": 10_000},
        {"snoozed_until": timezone.now() + timedelta(days=1)},
        {"open_count": 0},
        {"hours": 5},
        {"last_seen": timezone.now() - timedelta(hours=2)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_some_groups_are_left_in_peace(spikes: Spikes, tick: Tick, pool: Pool, more: dict[str, object]) -> None:
    group(pool, *[10] * 24, 900, **more)
    tick(spikes)
    assert told() == []


def test_a_channel_without_spikes_hears_of_none(
    spikes: Spikes, tick: Tick, pool: Pool, channel: NotificationChannel
) -> None:
    channel.occasions = ["new"]
    channel.save()
    group(pool, *[10] * 24, 900)
    tick(spikes)
    assert told() == []
