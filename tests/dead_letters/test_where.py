"""Where the open dead letters of a cause happen, and what may be said of it."""

import pytest
from django.utils import timezone

from pools.models import DeadLetter, DeadLetterState, FailureGroup, Pool
from pools.selectors.failure_group import claim, counted, where
from tests.dead_letters.letters import failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast

LATELY = {"config_number": 2, "python_version": "3.13.1", "rq_version": "3.0.0"}


def pool_that_ran(cast: Cast, *hours: int) -> Pool:
    """Its config versions were signed so many hours ago."""
    pool = make.pool(cast.payments, versions=0)
    for number, ago in enumerate(hours, start=1):
        make.config_version(pool, number, make.spec(), newest=number == len(hours), signed_at=make.ago(hours=ago))
    return pool


@pytest.fixture
def pool(cast: Cast) -> Pool:
    """Version 1 ran until an hour ago."""
    return pool_that_ran(cast, 480, 1)


def facets(group: FailureGroup) -> dict[str, list[tuple[str, int]]]:
    return {facet.name: facet.tally.rows for facet in where(group)}


def said(group: FailureGroup) -> str:
    return claim(group, where(group))


def test_open_letters_are_counted_by_what_they_ran_on(pool: Pool) -> None:
    group = failed(pool, *numbered(5), host="pay-01", **LATELY)
    DeadLetter.objects.filter(job_id="job-1").update(host="pay-02", python_version="3.12.0", config_number=1)
    DeadLetter.objects.filter(job_id="job-2").update(host="", rq_version="", queue="payments.high")
    DeadLetter.objects.filter(job_id="job-3").update(state=DeadLetterState.REQUEUED)
    assert facets(group) == {
        "Config version": [("v2", 3), ("v1", 1)],
        "Host": [("pay-01", 2), ("not known", 1), ("pay-02", 1)],
        "Queue": [("payments", 3), ("payments.high", 1)],
        "Python": [("3.13.1", 3), ("3.12.0", 1)],
        "rq": [("3.0.0", 3), ("not known", 1)],
    }


def test_only_on_one_version_is_said_when_another_ran_meanwhile(pool: Pool) -> None:
    group = failed(pool, "a", "b", **LATELY)
    FailureGroup.objects.update(first_seen=make.ago(minutes=50), last_seen=timezone.now())
    group.refresh_from_db()
    assert said(group) == "Only on v2", "v1 ran until ten minutes before the first failure"
    DeadLetter.objects.filter(job_id="a").update(host="pay-01")
    DeadLetter.objects.filter(job_id="b").update(host="pay-01", config_number=1)
    assert said(group) == "Only on host pay-01"


def test_a_version_that_ran_alone_explains_nothing(cast: Cast) -> None:
    group = failed(pool_that_ran(cast, 480, 72), "a", "b", **LATELY)
    assert said(group) == "Only on queue payments", "v1 had been gone for days"


def test_a_version_that_came_later_ran_meanwhile_too(pool: Pool) -> None:
    """The failures stayed on the old version while the new one was rolled out."""
    group = failed(pool, "a", config_number=1)
    FailureGroup.objects.update(first_seen=make.ago(hours=2))
    group.refresh_from_db()
    assert said(group) == "Only on v1"


@pytest.mark.sqlite
def test_it_is_counted_from_an_index_alone_in_its_order(pool: Pool) -> None:
    group = failed(pool, *numbered(300), host="pay-01", **LATELY)
    plan = counted(group).explain()
    assert "USING COVERING INDEX dead_letter_where (group_id=? AND state=?)" in plan and "TEMP B-TREE" not in plan, plan
