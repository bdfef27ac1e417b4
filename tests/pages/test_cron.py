"""The cron panel of a pool's page."""

from typing import Any

import pytest

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

ENTRIES = [
    {"name": "report", "task": "shop.report", "schedule": "30 2 * * 1-5", "timezone": "Europe/Berlin"},
    {"name": "ping", "task": "shop.ping", "schedule": "*/5 * * * *"},
]


@pytest.fixture
def clocked(cast: Cast, payments: Pool) -> Pool:
    make.config_version(payments, 3, make.spec(cron=ENTRIES))
    Pool.objects.update(config_number=3, published_number=3)
    return Pool.objects.get(pk=payments.pk)


def page(cast: Cast) -> str:
    return str(signed_in(cast.bob).get("/pools/payments/").content.decode())


def test_each_entry_says_when_in_words(cast: Cast, clocked: Pool) -> None:
    content = page(cast)
    for said in (
        "at 02:30 from Monday to Friday",
        "Europe/Berlin",
        "every 5 minutes",
        "shop.report",
        "<code>ping</code>",
    ):
        assert said in content, said


def test_a_pool_without_entries_has_no_panel(cast: Cast, payments: Pool) -> None:
    assert 'id="h-cron"' not in page(cast)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"end": "succeeded"}, "Succeeded"),
        ({"end": ""}, "Waits"),
        ({"outcome": "skipped"}, "Skipped"),
        ({"outcome": "missed"}, "Missed"),
        ({"end": "failed", "job_id": "cron-report-1"}, 'href="/jobs/cron-report-1/"'),
    ],
)
def test_the_last_slot_says_what_became_of_it(cast: Cast, clocked: Pool, changes: dict[str, Any], said: str) -> None:
    make.cron_slot(clocked, "report", minutes=9, end="unknown")
    make.cron_slot(clocked, "report", **changes)
    assert said in page(cast)


def test_a_paused_pool_has_no_next_slot(cast: Cast, clocked: Pool) -> None:
    Pool.objects.update(run_state="paused")
    assert "no slots while the pool is paused" in page(cast)


def test_slots_are_asked_for_in_the_same_number_of_queries_however_many_there_are(
    cast: Cast, clocked: Pool, django_assert_max_num_queries: Any
) -> None:
    for minutes in range(60):
        make.cron_slot(clocked, "report" if minutes % 2 else "ping", minutes=minutes)
    client = signed_in(cast.bob)
    client.get("/pools/payments/")
    with django_assert_max_num_queries(45):
        client.get("/pools/payments/")
