"""Open dead letters follow their queue to the pool that claims it."""

import pytest
import redis
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
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool

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
