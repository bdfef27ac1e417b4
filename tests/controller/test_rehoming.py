"""Open dead letters follow their queue to the pool that claims it."""

import pytest
import redis
from django.contrib.auth.models import User
from django.db.models import Sum

from pools.broker.connection import Broker
from pools.controller.lease import LeaderLease
from pools.controller.rehoming import Rehoming
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import (
    DeadLetter,
    DeadLetterState,
    FailureGroup,
    FailureHour,
    GroupNote,
    GroupState,
    PoolNow,
    Team,
)
from pools.operations import Selection, discard_create, operation_recall, operation_undo, requeue_create
from pools.operations.execute import run_operation
from pools.permissions import role_group
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool
from tests.support.cast import actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


def counts() -> dict[str, tuple[int, int]]:
    groups = FailureGroup.objects.values_list("pool__slug", "open_count", "total_count")
    return {slug: (opened, total) for slug, opened, total in groups}


def hours() -> dict[str, int]:
    """Of the charts, by pool."""
    return dict(FailureHour.objects.values_list("group__pool__slug").annotate(n=Sum("count")))


def test_a_managed_pool_takes_over_what_was_attached(
    lease: LeaderLease, tick: Tick, client: redis.Redis, team: Team
) -> None:
    sampler, rehoming = Sampler(lease), Rehoming(lease)
    write_failed(client, "a", "b", "c", "closed")
    write_failed(client, "elsewhere", queue="reports")
    tick(sampler)
    tick(Scanner(lease))
    DeadLetter.objects.filter(job_id="closed").close(
        DeadLetterState.DISCARDED, DeadLetter.objects.get(job_id="a").failed_at
    )
    tick(rehoming)
    assert counts() == {"attached": (4, 5)}
    runbook = "https://runbooks.example.com/mail"
    FailureGroup.objects.update(state=GroupState.ACKNOWLEDGED, runbook_url=runbook, revision=2)
    new_pool(team, "mail")
    tick(rehoming)
    tick(sampler)
    assert counts() == {"attached": (1, 2), "mail": (3, 3)}
    homes = dict(DeadLetter.objects.values_list("job_id", "pool__slug"))
    assert homes == {"a": "mail", "b": "mail", "c": "mail", "closed": "attached", "elsewhere": "attached"}
    assert {letter.group.pool_id == letter.pool_id for letter in DeadLetter.objects.select_related("group")} == {True}
    assert dict(PoolNow.objects.values_list("pool__slug", "dead_letters")) == {"attached": 1, "mail": 3}
    there = FailureGroup.objects.get(pool__slug="mail")
    assert (there.state, there.runbook_url) == (GroupState.ACKNOWLEDGED, runbook), "what was decided goes with them"
    assert GroupNote.objects.get(group=there).did.startswith("took this over from group")
    assert hours() == {"attached": 2, "mail": 3}
    tick(rehoming)
    assert counts() == {"attached": (1, 2), "mail": (3, 3)}


@pytest.mark.parametrize("kind", ["restore", "recall"])
def test_what_comes_back_later_goes_where_its_queue_belongs_by_then(
    lease: LeaderLease, tick: Tick, client: redis.Redis, team: Team, kind: str
) -> None:
    """It was closed in the pool that had the queue then."""
    sampler, rehoming, user = Sampler(lease), Rehoming(lease), User.objects.create(username="alice")
    user.groups.add(role_group(team, "operator"))
    boss = actor(user)
    write_failed(client, "a", "b")
    tick(sampler)
    tick(Scanner(lease))
    chosen = Selection(ids=(DeadLetter.objects.get(job_id="a").pk,))
    create = discard_create if kind == "restore" else requeue_create
    row = create(actor=boss, selection=chosen, reason="The gateway is back")
    run_operation(row.pk)
    new_pool(team, "mail")
    tick(rehoming)
    tick(rehoming)
    assert dict(DeadLetter.objects.values_list("job_id", "pool__slug")) == {"a": "attached", "b": "mail"}
    row.refresh_from_db()
    back = (operation_undo if kind == "restore" else operation_recall)(actor=boss, operation=row, reason="wrong")
    run_operation(back.pk)
    tick(rehoming)
    assert dict(DeadLetter.objects.values_list("job_id", "pool__slug")) == {"a": "mail", "b": "mail"}
    assert counts() == {"attached": (0, 0), "mail": (2, 2)}
