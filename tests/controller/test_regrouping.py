"""A release that changes the rules of grouping regroups what is there, and keeps what people decided."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User

from pools.broker import fingerprint
from pools.broker.connection import Broker
from pools.controller import regrouping
from pools.controller.lease import LeaderLease
from pools.controller.regrouping import Regrouping
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import (
    DeadLetter,
    DeadLetterState,
    FailureGroup,
    FailureHour,
    GroupNote,
    GroupState,
    Notice,
    Pool,
    Team,
)
from pools.selectors.dead_letters import DeadLetterFilter, dead_letters
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool
from tests.support.cast import actor

pytestmark = pytest.mark.django_db
CITIES = (re.compile(r"\b(?:Bern|Rome)\b"), fingerprint.GAP)
DECIDED = {"state": GroupState.ACKNOWLEDGED, "runbook_url": "https://wiki.example.org/stock", "revision": 2}

type Rules = list[tuple[re.Pattern[str], str]]
type Release = Callable[[Rules], None]
type Fail = Callable[..., None]


@pytest.fixture
def pool(team: Team) -> Pool:
    return new_pool(team, "mail")


@pytest.fixture
def fail(broker: Broker, pool: Pool, lease: LeaderLease, tick: Tick) -> Fail:
    """Jobs fail with this message, and are indexed."""
    client, loops = redis.Redis.from_url(broker.url), [Sampler(lease), Scanner(lease)]

    def run(message: str, *ids: str) -> None:
        write_failed(client, *ids, traceback=f"Traceback (most recent call last):\nshop.NoStock: {message}")
        for loop in loops:
            tick(loop)

    return run


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """The next version of Poolwarden, with these rules."""

    def install(rules: Rules) -> None:
        monkeypatch.setattr(fingerprint, "VERSION", fingerprint.VERSION + 1)
        monkeypatch.setattr(regrouping, "VERSION", fingerprint.VERSION)
        monkeypatch.setattr(fingerprint, "RULES", rules)
        fingerprint.normalised.cache_clear()

    yield install
    fingerprint.normalised.cache_clear()


@pytest.fixture
def regroup(lease: LeaderLease, tick: Tick) -> Callable[[], None]:
    def run() -> None:
        loop = Regrouping(lease)
        while tick(loop):
            pass
        assert set(FailureGroup.objects.values_list("digest_version", flat=True)) == {fingerprint.VERSION}

    return run


def counts() -> dict[str, tuple[int, int]]:
    """Of groups with failures, by title: open and all. Each as its letters and its hours say."""
    found = {}
    for group in FailureGroup.objects.filter(total_count__gt=0):
        letters = DeadLetter.objects.filter(group=group)
        assert group.open_count == letters.filter(state=DeadLetterState.OPEN).count()
        assert group.total_count == letters.count()
        assert sum(FailureHour.objects.filter(group=group).values_list("count", flat=True)) == group.total_count
        found[group.title] = (group.open_count, group.total_count)
    return found


def test_a_cause_that_is_still_one_stays_the_group_it_was(fail: Fail, release: Release, regroup: Any) -> None:
    fail("no lamp 4 in Bern", "a", "b")
    FailureGroup.objects.update(**DECIDED)
    before = FailureGroup.objects.get()
    release([CITIES, *fingerprint.RULES])
    regroup()
    after = FailureGroup.objects.get()
    assert (after.pk, after.state, after.runbook_url, after.revision) == (before.pk, *DECIDED.values())
    assert counts() == {"NoStock: no lamp … in …": (2, 2)}
    Notice.objects.all().delete()
    fail("no lamp 5 in Rome", "c")
    assert counts() == {"NoStock: no lamp … in …": (3, 3)}
    assert not Notice.objects.exists(), "no news: the cause was there"


def test_a_job_is_found_by_what_the_new_title_lost(fail: Fail, release: Release, regroup: Any) -> None:
    fail("no lamp 4 in Bern", "a")
    release([CITIES, *fingerprint.RULES])
    regroup()
    admin = actor(User.objects.create_superuser("ada"))
    assert [letter.job_id for letter in dead_letters(admin, DeadLetterFilter(q="bern"))] == ["a"]


def test_causes_that_are_now_told_apart_part(fail: Fail, release: Release, regroup: Any) -> None:
    fail("no lamp 4", "a", "b", "closed")
    fail("no lamp 5", "c")
    DeadLetter.objects.filter(job_id="closed").close(DeadLetterState.DISCARDED, FailureGroup.objects.get().last_seen)
    FailureGroup.objects.update(**DECIDED)
    before = FailureGroup.objects.get()
    release([])
    regroup()
    assert counts() == {"NoStock: no lamp 4": (2, 3), "NoStock: no lamp 5": (1, 1)}
    assert FailureGroup.objects.get(title="NoStock: no lamp 5") == before, "the newest failure's"
    assert {tuple(row.values()) for row in FailureGroup.objects.values(*DECIDED)} == {tuple(DECIDED.values())}
    assert GroupNote.objects.get().group.title == "NoStock: no lamp 4"


def test_causes_that_are_now_one_come_together(fail: Fail, release: Release, regroup: Any) -> None:
    fail("no lamp in Bern", "a", "b")
    fail("no lamp in Rome", "c")
    FailureGroup.objects.filter(title__endswith="Rome").update(**DECIDED)
    release([CITIES])
    regroup()
    assert counts() == {"NoStock: no lamp in …": (3, 3)}
    assert FailureGroup.objects.get(total_count=3).state == GroupState.ACKNOWLEDGED


def test_what_nobody_decided_about_takes_no_decision_away(fail: Fail, release: Release, regroup: Any) -> None:
    """Of three causes that come together only the second was looked at."""
    fail("no lamp in Bern", "a")
    fail("no lamp in Rome", "b")
    fail("no lamp in Oslo", "c")
    FailureGroup.objects.filter(title__endswith="Rome").update(**DECIDED)
    release([(re.compile(r"\b(?:Bern|Rome|Oslo)\b"), fingerprint.GAP)])
    regroup()
    assert FailureGroup.objects.get(total_count=3).state == GroupState.ACKNOWLEDGED


def test_what_somebody_decided_about_the_other_group_stays(fail: Fail, release: Release, regroup: Any) -> None:
    fail("no lamp in Bern", "a")
    fail("no lamp in Rome", "b")
    FailureGroup.objects.filter(title__endswith="Bern").update(state=GroupState.RESOLVED, revision=2)
    FailureGroup.objects.filter(title__endswith="Rome").update(**DECIDED)
    release([CITIES])
    regroup()
    assert FailureGroup.objects.get(total_count=2).state == GroupState.RESOLVED


@pytest.mark.parametrize("ticks", range(1, 6))
def test_a_controller_that_ends_before_begins_anew(
    fail: Fail,
    release: Release,
    regroup: Any,
    lease: LeaderLease,
    tick: Tick,
    monkeypatch: pytest.MonkeyPatch,
    ticks: int,
) -> None:
    fail("no lamp 4", "a", "b")
    fail("no lamp 5", "c")
    fail("no shade", "d")
    release([])
    monkeypatch.setattr(regrouping, "GROUPS", 1)
    monkeypatch.setattr(regrouping, "LETTERS", 1)
    first = Regrouping(lease)
    for _ in range(ticks):
        assert tick(first)
    regroup()
    assert counts() == {"NoStock: no lamp 4": (2, 2), "NoStock: no lamp 5": (1, 1), "NoStock: no shade": (1, 1)}


def test_a_group_whose_failures_are_kept_no_longer_keeps_its_name(fail: Fail, release: Release, regroup: Any) -> None:
    fail("no lamp 4", "a")
    DeadLetter.objects.all().delete()
    release([])
    regroup()
    assert FailureGroup.objects.get().title == "NoStock: no lamp …"


def test_under_the_same_rules_nothing_is_looked_at(
    fail: Fail, lease: LeaderLease, tick: Tick, django_assert_num_queries: Any
) -> None:
    fail("no lamp 4", "a")
    loop = Regrouping(lease)
    assert lease.renew()
    with django_assert_num_queries(1):
        assert loop.tick() is False
