"""One filter for page, API and operation: what it takes, what it refuses, and that its counts agree."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from pools.models import DeadLetter, DeadLetterState, FailureGroup, Pool
from pools.selectors.dead_letters import (
    DeadLetterFilter,
    FilterError,
    dead_letter_page,
    dead_letters,
    group_counts,
    matching,
)
from pools.selectors.inbox import group_rows
from tests.dead_letters.letters import failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast, actor


def ids(cast: Cast, **wanted: str) -> set[str]:
    found = dead_letters(actor(cast.bob), DeadLetterFilter.from_query(wanted))
    return set(found.values_list("job_id", flat=True))


@pytest.fixture
def incident(payments: Pool, reports: Pool) -> None:
    failed(payments, "timeout-1", "timeout-2", minutes=5, host="pay-01", config_number=41)
    soon = {"expires_at": make.ago(hours=-3), "host": "pay-02", "config_number": 42}
    failed(payments, "card-1", title="shop.errors.CardDeclined: no", func="shop.payments.charge", minutes=90, **soon)
    failed(reports, "report-1", title="TimeoutError: read timed out", func="shop.reports.run", minutes=2000)
    failed(reports, "old-1", title="KeyError: 'vat'", func="shop.reports.tax", state=DeadLetterState.REQUEUED)


MATCHES = [
    ({}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
    ({"pool": "payments"}, {"timeout-1", "timeout-2", "card-1"}),
    ({"queue": "reports"}, {"report-1"}),
    ({"task": "shop.payments.charge"}, {"card-1"}),
    ({"error": "CardDeclined"}, {"card-1"}),
    ({"error": "shop.errors.CardDeclined"}, {"card-1"}),
    ({"error": "Declined"}, set()),
    ({"q": "timed out"}, {"timeout-1", "timeout-2", "report-1"}),
    ({"q": "TIMED OUT"}, {"timeout-1", "timeout-2", "report-1"}),
    ({"q": "timeout-2"}, {"timeout-2"}),
    ({"q": "100%"}, set()),
    ({"q": "_"}, set()),
    ({"since": "15m"}, {"timeout-1", "timeout-2"}),
    ({"since": "2h"}, {"timeout-1", "timeout-2", "card-1"}),
    ({"queue": "payments,reports", "since": "30h"}, {"timeout-1", "timeout-2", "card-1"}),
    ({"queue": "payments,reports", "since": "7d"}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
    ({"until": "1h"}, {"card-1", "report-1"}),
    ({"state": "requeued"}, {"old-1"}),
    ({"state": "any", "pool": "reports"}, {"report-1", "old-1"}),
    ({"pool": "payments", "error": "TimeoutError", "q": "connect"}, {"timeout-1", "timeout-2"}),
    ({"pool": "unknown"}, set()),
    ({"pool": "payments,reports"}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
    ({"pool": "-payments"}, {"report-1"}),
    ({"queue": "-reports,-other"}, {"timeout-1", "timeout-2", "card-1"}),
    ({"task": "shop.payments.charge,shop.reports.run"}, {"card-1", "report-1"}),
    ({"error": "CardDeclined,KeyError"}, {"card-1"}),
    ({"error": "-CardDeclined"}, {"timeout-1", "timeout-2", "report-1"}),
    ({"error": "TimeoutError,-shop.TimeoutError"}, {"timeout-1", "timeout-2", "report-1"}),
    ({"error": "none"}, set()),
    ({"host": "pay-01"}, {"timeout-1", "timeout-2"}),
    ({"host": "-pay-01"}, {"card-1", "report-1"}),
    ({"host": "none,pay-02"}, {"card-1", "report-1"}),
    ({"version": "v41"}, {"timeout-1", "timeout-2"}),
    ({"version": "-41"}, {"card-1", "report-1"}),
    ({"version": "none"}, {"report-1"}),
    ({"version": "-none"}, {"timeout-1", "timeout-2", "card-1"}),
    ({"version": "42,none"}, {"card-1", "report-1"}),
    ({"expires": "<24h"}, {"card-1"}),
    ({"expires": ">1h"}, {"card-1"}),
    ({"expires": "<1h"}, set()),
    ({"owner": "none"}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
    ({"owner": "-me"}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
    ({"owner": "-none,-me"}, set()),
    ({"group_state": "-new"}, set()),
    ({"state": "open,requeued", "pool": "reports"}, {"report-1", "old-1"}),
    ({"state": "-requeued"}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
    ({"page": "7", "nonsense": "x"}, {"timeout-1", "timeout-2", "card-1", "report-1"}),
]


@pytest.mark.usefixtures("incident")
def test_what_a_filter_matches(cast: Cast) -> None:
    for query, found in MATCHES:
        wanted = DeadLetterFilter.from_query(query)
        counts = group_counts(actor(cast.bob), wanted)
        rows = group_rows(counts)
        assert ids(cast, **query) == found, query
        assert {row.group.pk: row.count for row in rows} == counts, query
        assert sum(counts.values()) == len(found), query
        assert {letter.job_id for letter in dead_letter_page(actor(cast.bob), wanted).items} == found, query


BY_INDEX = [
    ({"version": "v41"}, "dead_letter_where (group_id=? AND state=? AND config_number=?)"),
    ({"host": "pay-01"}, "dead_letter_host (group_id=? AND state=? AND host=?)"),
    ({"expires": "<24h"}, "dead_letter_vanishing (pool_id=? AND expires_at<?)"),
    ({"queue": "payments", "host": "pay-01"}, "dead_letter_registry (broker=? AND queue=?)"),
    ({"queue": "payments", "since": "7d"}, "dead_letter_registry (broker=? AND queue=?)"),
    ({"queue": "payments", "group": "1"}, "dead_letter_where (group_id=? AND state=?)"),
]


@pytest.mark.sqlite
@pytest.mark.usefixtures("incident")
def test_no_row_is_read_to_be_counted(cast: Cast) -> None:
    for query, index in BY_INDEX:
        (part,) = matching(actor(cast.bob), DeadLetterFilter.from_query(query))
        plan = part._in_one_pass([make.ago(hours=1)]).explain()
        assert f"USING COVERING INDEX {index}" in plan, (query, plan)


def test_several_groups(cast: Cast, payments: Pool) -> None:
    first, second = failed(payments, "a"), failed(payments, "b", title="KeyError: 'x'")
    failed(payments, "c", title="ValueError: y")
    assert ids(cast, group=f"{first.pk},{second.pk}") == {"a", "b"}
    wanted = DeadLetterFilter(group=f"{first.pk},{second.pk}")
    assert group_counts(actor(cast.bob), wanted) == {first.pk: 1, second.pk: 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("since", "yesterday"),
        ("since", "2026-13-40T00:00:00Z"),
        ("since", "15 m"),
        ("until", "99999d"),
        ("until", "9999-12-31T23:59:59-14:00"),
        ("group", "x"),
        ("group", "1,"),
        ("queue", "a,,b"),
        ("queue", '"a'),
        ("queue", '"a"b'),
        ("version", "latest"),
        ("expires", "24h"),
        ("owner", "-"),
        ("group", "\uff11"),
        ("group", "9" * 30),
        ("state", "dead"),
        ("q", "x" * 2001),
        ("pool", "a\x00b"),
    ],
)
def test_a_value_that_cannot_be_read_is_refused_by_name(field: str, value: str) -> None:
    with pytest.raises(FilterError) as refused:
        DeadLetterFilter.from_query({field: value})
    assert refused.value.field == field


def test_a_moment_stands_still(cast: Cast, payments: Pool) -> None:
    """What is confirmed is what was shown, although jobs go on failing and time goes on."""
    failed(payments, "a", "b", minutes=5)
    newest = DeadLetter.objects.latest("failed_at").failed_at
    DeadLetter.objects.update(expires_at=newest + timedelta(hours=5))
    fixed = DeadLetterFilter(since="15m", expires="<6h").at_moment(newest)
    failed(payments, "later", title="KeyError: 'x'", minutes=0)
    assert ids(cast, **fixed.as_query()) == {"a", "b"}
    since = datetime.fromisoformat(fixed.since)
    assert abs(timezone.now() - timedelta(minutes=15) - since) < timedelta(seconds=10)
    assert fixed.at_moment(newest) == fixed


def test_me_is_whoever_looks(cast: Cast, payments: Pool) -> None:
    FailureGroup.objects.filter(pk=failed(payments, "a").pk).update(owner=cast.bob)
    FailureGroup.objects.filter(pk=failed(payments, "b", title="KeyError: 'x'").pk).update(owner=cast.alice)
    failed(payments, "c", title="ValueError: y")
    assert ids(cast, owner="me") == {"a"}
    assert ids(cast, owner="me,none") == {"a", "c"}
    assert ids(cast, owner="-me") == {"b", "c"}
    assert ids(cast, owner="-me,-none") == {"b"}


def test_times_without_a_zone_are_utc(cast: Cast, payments: Pool) -> None:
    failed(payments, "a", failed_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert ids(cast, since="2026-01-02T03:04", until="2026-01-02 03:05") == {"a"}
    assert ids(cast, since="2026-01-02T05:04:06+02:00") == set()


def test_pages_by_key_show_each_once(cast: Cast, payments: Pool) -> None:
    """Also among jobs that failed in the same instant."""
    moment = timezone.now()
    failed(payments, *numbered(7), failed_at=moment)
    seen: list[str] = []
    cursor = ""
    for _ in range(4):
        page = dead_letter_page(actor(cast.bob), DeadLetterFilter(), cursor, size=2)
        seen += [letter.job_id for letter in page.items]
        cursor = page.next
    assert sorted(seen) == numbered(7)
    assert cursor == ""


@pytest.mark.parametrize("cursor", ["x", "é", "====", "MjAyNi0wMS0wMXwx", "fHw", "MjAyNi0wMS0wMVQwMDowMDowMFo"])
def test_a_foreign_cursor_does_no_harm(cast: Cast, payments: Pool, cursor: str) -> None:
    failed(payments, "a")
    try:
        dead_letter_page(actor(cast.bob), DeadLetterFilter(), cursor)
    except FilterError as refused:
        assert refused.field == "cursor"


def test_others_see_nothing(cast: Cast, payments: Pool, hidden: Pool) -> None:
    failed(payments, "a")
    failed(hidden, "b")
    assert ids(cast) == {"a"}
    outsider = dead_letters(actor(cast.charlie), DeadLetterFilter())
    assert [letter.job_id for letter in outsider] == ["b"]
    assert group_counts(actor(cast.charlie), DeadLetterFilter(pool="payments")) == {}
