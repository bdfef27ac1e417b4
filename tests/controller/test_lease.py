"""The lease: one leader at a time, also for clocks that stand still and rows that change behind one's back."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from pools.controller.lease import LeaderLease, LeaseLost
from pools.models import ControllerLease, Team
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db


def let_it_end() -> None:
    ControllerLease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def test_the_first_leads_and_the_second_stands_by() -> None:
    first, second = LeaderLease(), LeaderLease()
    assert first.renew() and first.held()
    assert not second.renew() and not second.held()
    assert first.renew()


def test_a_lease_that_ended_is_taken_and_the_log_says_so() -> None:
    first, second = LeaderLease(), LeaderLease()
    first.renew()
    let_it_end()
    assert second.renew()
    assert recent_actions(2) == [
        ("controller.took_over", "done", second.holder),
        ("controller.took_over", "done", first.holder),
    ]
    assert not first.renew()
    assert not first.held(), "it stops at once when it learns of its successor"


def test_a_renewal_is_not_a_change_of_holder() -> None:
    lease = LeaderLease()
    assert lease.renew() and lease.renew()
    let_it_end()
    assert lease.renew(), "nobody took it"
    assert len(recent_actions(5)) == 1


def test_a_released_lease_is_free_at_once() -> None:
    first, second = LeaderLease(), LeaderLease()
    first.renew()
    first.release()
    assert not first.held()
    assert second.renew()


def test_the_end_is_judged_by_the_database() -> None:
    lease, began = LeaderLease(), datetime.now(UTC)
    lease.renew()
    ends = ControllerLease.objects.get().expires_at
    assert began + timedelta(seconds=5) < ends < datetime.now(UTC) + timedelta(seconds=7)


def test_writes_of_a_replaced_leader_roll_back() -> None:
    first, second = LeaderLease(), LeaderLease()
    first.renew()
    let_it_end()
    second.renew()
    assert first.held(), "by its own clock it still has time, as after a pause of the whole process"
    with pytest.raises(LeaseLost), transaction.atomic(), first.fenced():
        Team.objects.create(slug="late", name="Late")
    assert not Team.objects.exists()
    with second.fenced():
        Team.objects.create(slug="right", name="Right")
    assert Team.objects.get().slug == "right"
