"""The inbox: groups and jobs, filters in the address, empty states, hostile text, no more queries with more rows."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.models import BrokerState, DeadLetter, Pool
from pools.selectors.health import render_metrics
from tests.dead_letters.letters import HOSTILE, failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

URL = "/dead-letters/"


def text(page: bytes) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.decode()).split())


def test_groups_come_first_largest_on_top(cast: Cast, payments: Pool, reports: Pool) -> None:
    small = failed(payments, "a", title="KeyError: 'vat_region'", func="shop.payments.invoice")
    large = failed(reports, *numbered(3), title="TimeoutError: read timed out")
    make.failure_hours(large, 1, 2, 3)
    page = signed_in(cast.vera).get(URL).content.decode()
    assert "4 jobs in 2 groups" in text(page.encode())
    assert page.index(f'id="group-{large.pk}"') < page.index(f'id="group-{small.pk}"')
    assert f'href="/dead-letters/groups/{small.pk}/"' in page
    assert 'data-weight="3"' in page
    assert "failures an hour over the last 24 hours, now 3" in page


def test_jobs_newest_first_by_pages(cast: Cast, payments: Pool) -> None:
    failed(payments, *numbered(60))
    client = signed_in(cast.vera)
    first = client.get(URL, {"show": "jobs", "pool": "payments"}).content.decode()
    assert first.index(">job-59<") < first.index(">job-58<")
    assert ">job-9<" not in first
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following and "pool=payments" in following[1]
    second = client.get(URL + following[1].replace("&amp;", "&")).content.decode()
    assert ">job-9<" in second and ">job-10<" not in second
    assert 'rel="next"' not in second


def test_a_filter_lives_in_the_address_and_can_be_lifted(cast: Cast, payments: Pool, reports: Pool) -> None:
    failed(payments, "a")
    failed(reports, "b", title="KeyError: 'x'")
    page = signed_in(cast.vera).get(URL, {"pool": "payments", "since": "24h", "q": "connect"}).content.decode()
    assert "1 job in 1 group match" in text(page.encode())
    assert 'href="/dead-letters/?q=connect&amp;since=24h" aria-label="Remove filter pool:payments"' in page
    assert 'name="filter" value="pool:payments age:&lt;24h connect"' in page
    assert f'href="{URL}views/?pool=payments&amp;q=connect&amp;since=24h">Save view' in page


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("", f"{URL}?show=groups"),
        ("timed  out", f"{URL}?q=timed+out"),
        ("queue:b,a -pool:x age:<1h", f"{URL}?pool=-x&queue=b%2Ca&since=1h"),
        ("state:open error:KeyError error:KeyError", f"{URL}?error=KeyError"),
    ],
)
def test_what_is_typed_goes_into_the_one_address_of_it(cast: Cast, payments: Pool, line: str, address: str) -> None:
    client = signed_in(cast.vera)
    response = client.get(URL, {"filter": line})
    assert (response.status_code, response["Location"]) == (302, address)
    jobs = client.get(URL, {"filter": line, "show": "jobs"})["Location"]
    assert jobs == address.replace("show=groups", "").replace("?", "?show=jobs&").rstrip("&")
    assert client.get(address).status_code == 200


def test_a_typing_error_is_marked_and_what_was_typed_stays(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    response = signed_in(cast.vera).get(URL, {"filter": "pool:payments queu:<low>"})
    page = response.content.decode()
    assert response.status_code == 400 and 'value="pool:payments queu:&lt;low&gt;"' in page
    assert "<code>pool:payments <mark>queu:</mark>&lt;low&gt;</code>" in page
    assert "cannot be read at character 15: there is no key queu:, did you mean queue:?" in text(response.content)
    assert "Nothing is shown and nothing was changed." in text(response.content) and 'aria-invalid="true"' in page
    mended = signed_in(cast.vera).get(URL, {"since": "soonish", "pool": "payments"}).content.decode()
    assert 'value="pool:payments since:soonish"' in mended


def test_it_offers_to_narrow_by_what_divides(cast: Cast, payments: Pool, reports: Pool) -> None:
    failed(payments, *numbered(3))
    failed(reports, "b", title="KeyError: 'x'", func="shop.reports.run")
    page = text(signed_in(cast.vera).get(URL).content)
    assert "pool:payments 3" in page and "pool:reports 1" in page
    assert "error:TimeoutError 3" in page and "task:shop.reports.run 1" in page
    narrowed = text(signed_in(cast.vera).get(URL, {"pool": "reports"}).content)
    assert "pool:payments 3" not in narrowed and "error:KeyError" not in narrowed


def test_nothing_failed_and_everything_hidden_look_different(cast: Cast, payments: Pool) -> None:
    client = signed_in(cast.vera)
    assert "No dead letters" in text(client.get(URL).content)
    failed(payments, "a", "b")
    hidden = text(client.get(URL, {"q": "no such words"}).content)
    assert "No dead letters match" in hidden and "Without it there are 2" in hidden


@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"group": "x"}, {"show": "jobs", "cursor": "%%"}])
def test_a_filter_that_cannot_be_read_shows_nothing_and_says_why(
    cast: Cast, payments: Pool, query: dict[str, str]
) -> None:
    failed(payments, "a")
    response = signed_in(cast.vera).get(URL, query)
    assert response.status_code == 400
    assert "The filter cannot be read" in text(response.content)
    assert "Nothing is shown and nothing was changed." in text(response.content)
    assert "job-1" not in response.content.decode() and "data-row " not in response.content.decode()


def test_hostile_text_stays_text(cast: Cast, payments: Pool) -> None:
    failed(payments, HOSTILE, title=f"{HOSTILE}: {HOSTILE}", func=HOSTILE, queue=HOSTILE[:200], host=HOSTILE[:200])
    client = signed_in(cast.bob)
    for query in ({}, {"show": "jobs"}, {"q": HOSTILE, "task": HOSTILE, "error": HOSTILE, "pool": HOSTILE}):
        page = client.get(URL, query).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "49" not in page.split("DROP TABLE")[-1][:40]
    assert DeadLetter.objects.count() == 1


def test_an_outsider_sees_only_their_own(cast: Cast, payments: Pool, hidden: Pool) -> None:
    failed(payments, "a", title="TimeoutError: of payments")
    failed(hidden, "b", title="KeyError: of hidden")
    page = text(signed_in(cast.charlie).get(URL).content)
    assert "of hidden" in page and "of payments" not in page and "1 job in 1 group" in page


def test_a_viewer_sees_locked_verbs_and_who_can_grant_them(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    page = signed_in(cast.vera).get(URL).content.decode()
    assert "formaction" not in page and page.count('aria-disabled="true"') == 2
    assert "Requeue needs pools.requeue_dead_letters . ada can grant it." in text(page.encode())
    assert signed_in(cast.bob).get(URL).content.decode().count("formaction") == 9


@pytest.mark.parametrize("show", ["groups", "jobs"])
def test_more_rows_cost_no_more_queries(cast: Cast, payments: Pool, reports: Pool, show: str) -> None:
    client = signed_in(cast.bob)

    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(URL, {"show": show}).status_code == 200
        return len(seen)

    failed(payments, "a")
    few = queries()
    for n in range(12):
        failed(reports if n % 2 else payments, *numbered(4, f"g{n}"), title=f"KeyError: {n}", func=f"shop.f{n}")
    assert queries() == few <= 36


def test_only_reading(cast: Cast) -> None:
    assert signed_in(cast.bob).post(URL).status_code == 405


def test_it_says_how_far_it_is_behind_the_broker(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    client = signed_in(cast.bob)
    state = make.broker(scanned_at=None)
    assert "not yet compared with the broker: jobs may be missing" in text(client.get(URL).content)
    BrokerState.objects.filter(pk=state.pk).update(scanned_at=make.ago(seconds=5))
    shown = text(client.get(URL).content)
    assert re.search(r"compared with the broker \d+ s ago", shown) and "may be missing" not in shown
    BrokerState.objects.filter(pk=state.pk).update(scanned_at=make.ago(minutes=5))
    assert "compared with the broker 5 min ago : jobs may be missing" in text(client.get(URL).content)
    assert re.search(r'poolwarden_index_lag_seconds\{broker="default"\} 30\d\.', render_metrics().decode())
