"""The matrix of exceptions by age: each number is that of the list behind its link, whatever the filter around it."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.models import DeadLetter, Pool
from pools.selectors.dead_letters import DeadLetterFilter, dead_letters
from pools.selectors.matrix import AGES, SHOWN, counts_by_age, matrix
from tests.dead_letters.letters import HOSTILE, failed, numbered
from tests.dead_letters.test_list import URL, text
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

MINUTES = (1, 16, 59, 61, 400, 2000, 20000)


@pytest.fixture
def incident(payments: Pool, reports: Pool, hidden: Pool) -> None:
    for n, minutes in enumerate(MINUTES):
        failed(payments, *numbered(n + 1, f"a{n}"), minutes=minutes, func=f"f{n}")
        failed(reports, f"b{n}", title="shop.errors.TimeoutError: x", minutes=minutes, func=f"g{n}")
        failed(reports, f"c{n}", title="KeyError: x", minutes=minutes, queue="low, slow")
    failed(payments, *numbered(len(MINUTES), "ages"), minutes=max(MINUTES), func="ages", title="AgedError: x")
    for n, minutes in enumerate(MINUTES):
        DeadLetter.objects.filter(job_id=f"ages-{n}").update(failed_at=make.ago(minutes=minutes))
    failed(payments, "none", title=": killed", minutes=3)
    failed(payments, "odd", title=f"{HOSTILE}: x", minutes=3)
    failed(hidden, "theirs", title="SecretError: x", minutes=3)


FILTERS = [
    {},
    {"pool": "reports"},
    {"since": "24h"},
    {"until": "30m"},
    {"since": "7d", "until": "45m"},
    {"error": "TimeoutError,KeyError"},
    {"error": "shop.errors.TimeoutError"},
    {"error": "-shop.errors.TimeoutError"},
    {"error": "-none", "queue": "-low"},
    {"state": "any", "q": "x"},
]


@pytest.mark.usefixtures("incident")
@pytest.mark.parametrize("query", FILTERS)
def test_each_number_is_that_of_its_filter(cast: Cast, query: dict[str, str]) -> None:
    bob, wanted = actor(cast.bob), DeadLetterFilter.from_query(query)
    rows = matrix(wanted, counts_by_age(bob, wanted))
    for row in rows:
        for cell in row.cells:
            assert dead_letters(bob, cell.filter).count() == cell.count, (row.label, cell.age)
        assert sum(cell.count for cell in row.cells[:-1]) == row.cells[-1].count
    total = dead_letters(bob, wanted).count()
    assert rows[-1].cells[-1].count == total == sum(row.cells[-1].count for row in rows[:-1])
    assert rows[-1].cells[-1].filter == wanted


@pytest.mark.usefixtures("incident")
@pytest.mark.parametrize("query", [{}, {"show": "jobs", "since": "24h"}])
def test_every_link_leads_to_as_many_as_it_says(cast: Cast, query: dict[str, str]) -> None:
    client = signed_in(cast.bob)
    page = client.get(URL, query).content.decode()
    table = page.split('class="pw-matrix"')[1].split("</table>")[0]
    links = re.findall(r'<a href="([^"]+)"[^>]*>([\d,]+)</a>', table)
    assert len(links) > 15
    for href, shown in links:
        there = text(client.get(URL + unescape(href)).content)
        assert re.search(rf"Dead letters {shown} jobs? in", there), href


@pytest.mark.usefixtures("incident")
def test_the_largest_are_named_and_the_rest_is_one_row(cast: Cast, payments: Pool) -> None:
    bob = actor(cast.bob)
    with CaptureQueriesContext(connection) as few:
        matrix(DeadLetterFilter(), counts_by_age(bob, DeadLetterFilter()))
    for n in range(SHOWN + 2):
        failed(payments, *numbered(40 - n, f"n{n}"), title=f"Error{n}: x", func=f"h{n}")
    with CaptureQueriesContext(connection) as many:
        rows = matrix(DeadLetterFilter(), counts_by_age(bob, DeadLetterFilter()))
    assert max(len(few), len(many)) <= 10 and len(rows) == SHOWN + 2
    assert rows[0].label == "Error0" and rows[-2].label.endswith(" others") and rows[-1].label == "All"
    others = rows[-2].cells[-1]
    assert dead_letters(bob, others.filter).count() == others.count > 0
    assert "SecretError" not in {row.label for row in rows}
    assert [cell.age for cell in rows[0].cells] == list(AGES)


def test_nothing_failed(cast: Cast, payments: Pool) -> None:
    assert matrix(DeadLetterFilter(), counts_by_age(actor(cast.bob), DeadLetterFilter())) == []
    assert "Error by age" not in text(signed_in(cast.bob).get(URL).content)
