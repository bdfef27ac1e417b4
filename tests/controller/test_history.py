"""A pool's history: averages of levels, sums of counts, rolled up without gaps and forgotten in time."""

from datetime import UTC, datetime, timedelta

import pytest

from pools.controller.sampling.history import History, roll_up
from pools.models import Pool, PoolNow, PoolSample, Resolution, Team
from tests.support.factories import pool as make_pool

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def pool(team: Team) -> Pool:
    return make_pool(team)


def look(history: History, pool: Pool, at: datetime, *, waiting: int, done: int = 0, failed: int = 0) -> None:
    row = PoolNow(
        pool=pool, waiting=waiting, workers=4, busy=2, oldest_enqueued_at=at - timedelta(seconds=30), sampled_at=at
    )
    history.add([row], {pool.pk: done}, {pool.pk: failed}, at)


def points(resolution: Resolution) -> list[tuple[datetime, int, int, int]]:
    rows = PoolSample.objects.filter(resolution=resolution).order_by("at")
    return list(rows.values_list("at", "waiting", "done", "failed"))


def test_ten_seconds_become_one_point(pool: Pool) -> None:
    history = History()
    for second, waiting in ((0, 10), (2, 20), (4, 30), (6, 40), (8, 50)):
        look(history, pool, NOON + timedelta(seconds=second), waiting=waiting, done=3, failed=1)
    assert points(Resolution.TEN_SECONDS) == []
    look(history, pool, NOON + timedelta(seconds=10), waiting=99, done=100)
    assert points(Resolution.TEN_SECONDS) == [(NOON, 30, 15, 5)]
    sample = PoolSample.objects.get()
    assert (sample.oldest_seconds, sample.workers, sample.busy) == (30, 4, 2)


def test_failures_of_the_last_hour_are_added_up(pool: Pool) -> None:
    history, now = History(), datetime.now(UTC)
    for back in (4000, 1800, 900, 0):
        look(history, pool, now - timedelta(seconds=back), waiting=0, failed=5)
    look(history, pool, now + timedelta(seconds=10), waiting=0)
    assert history.failed_last_hour == {pool.pk: 15}


def test_six_points_become_a_minute(pool: Pool) -> None:
    history = History()
    for tens in range(13):
        look(history, pool, NOON + timedelta(seconds=10 * tens), waiting=tens % 6 * 10, done=1)
    assert points(Resolution.MINUTE) == [(NOON, 25, 6, 0), (NOON + timedelta(minutes=1), 25, 6, 0)]


def test_sixty_minutes_become_an_hour(pool: Pool) -> None:
    PoolSample.objects.bulk_create(
        PoolSample(
            pool=pool,
            resolution=Resolution.MINUTE,
            at=NOON + timedelta(minutes=minute),
            waiting=minute,
            oldest_seconds=0,
            workers=4,
            busy=2,
            done=6,
            failed=1,
        )
        for minute in range(90)
    )
    roll_up(Resolution.MINUTE, Resolution.HOUR, NOON + timedelta(minutes=90))
    assert points(Resolution.HOUR) == [(NOON, 30, 360, 60)]


def test_what_ended_while_nobody_led_is_rolled_up_later(pool: Pool) -> None:
    before, after = History(), History()
    for tens in range(9):
        look(before, pool, NOON + timedelta(seconds=10 * tens), waiting=6, done=1)
    for tens in range(30, 38):
        look(after, pool, NOON + timedelta(seconds=10 * tens), waiting=6, done=1)
    assert [(at, done) for at, _, done, _ in points(Resolution.MINUTE)] == [
        (NOON, 6),
        (NOON + timedelta(minutes=1), 2),
        (NOON + timedelta(minutes=5), 6),
    ]


def test_rolling_up_again_changes_nothing(pool: Pool) -> None:
    history = History()
    for tens in range(8):
        look(history, pool, NOON + timedelta(seconds=10 * tens), waiting=6)
    before = points(Resolution.MINUTE)
    roll_up(Resolution.TEN_SECONDS, Resolution.MINUTE, NOON + timedelta(seconds=100))
    assert points(Resolution.MINUTE) == before


def test_points_are_kept_for_their_time(pool: Pool) -> None:
    kept = {Resolution.TEN_SECONDS: 2, Resolution.MINUTE: 48, Resolution.HOUR: 90 * 24}
    levels = dict.fromkeys(("waiting", "oldest_seconds", "workers", "busy", "done", "failed"), 0)
    for resolution, hours in kept.items():
        for extra in (-2, 2):
            at = NOON - timedelta(hours=hours, minutes=extra)
            PoolSample.objects.create(pool=pool, resolution=resolution, at=at, **levels)
    history = History()
    look(history, pool, NOON - timedelta(seconds=10), waiting=0)
    look(history, pool, NOON, waiting=0)
    for resolution, hours in kept.items():
        assert not PoolSample.objects.filter(resolution=resolution, at__lt=NOON - timedelta(hours=hours)).exists()
        assert PoolSample.objects.filter(resolution=resolution, at=NOON - timedelta(hours=hours, minutes=-2)).exists()
