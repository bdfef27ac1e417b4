"""The page of one cause: its facts, where it happens, its jobs, and what may be done."""

import re

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools.models import DeadLetter, DeadLetterState, FailureGroup, Pool, RunState
from tests.dead_letters.letters import HOSTILE, failed, numbered, with_traceback
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, signed_in


def url(group: FailureGroup) -> str:
    return f"/dead-letters/groups/{group.pk}/"


def test_it_says_what_where_and_how_often(cast: Cast, payments: Pool) -> None:
    Pool.objects.filter(pk=payments.pk).update(runbook_url="https://runbooks.example/payments")
    group = failed(payments, "a", "b", "c", host="pay-01", worker="pay-01/1", config_number=1)
    DeadLetter.objects.filter(job_id="b").update(host="pay-02", worker="pay-02/3")
    with_traceback(DeadLetter.objects.get(job_id="c"))
    make.failure_hours(group, 4, 3)
    page = signed_in(cast.vera).get(url(group)).content.decode()
    words = text(page.encode())
    assert "TimeoutError: connect timed out" in words and "3 jobs" in words
    assert "shop/payments/gateway.py:41 in charge" in words
    assert "Only on queue payments" in words and "Only on v1" not in words, "the pool ran nothing else"
    assert re.search(r"pay-01 2 pay-02 1", words)
    assert "7 in all, at most 4 an hour" in page
    assert 'href="https://runbooks.example/payments"' in page
    assert '"label": "config v1"' in page


def test_the_panel_takes_exactly_what_it_shows(cast: Cast, payments: Pool) -> None:
    group = failed(payments, "a", "b")
    client = signed_in(cast.bob)
    page = client.get(url(group)).content.decode()
    assert "Requeue 2 jobs</button>" in page
    action = re.search(r'action="(/dead-letters/requeue/[^"]+)"', page)
    assert action and "until=" in action[1]
    DeadLetter.objects.create(
        group=group, pool=payments, job_id="late", queue="payments", func="f", exc_type="E", message="m",
        failed_at=timezone.now(),
    )  # fmt: skip
    form = {"all_matching": "1", "expected_count": "2", "reason": "The gateway is back"}
    response = client.post(action[1].replace("&amp;", "&"), form)
    assert response.status_code == 302
    items = client.get(response["Location"]).content.decode()
    assert ">a<" in items and ">b<" in items and ">late<" not in items


def test_a_paused_pool_is_said_before_the_click(cast: Cast, payments: Pool) -> None:
    group = failed(payments, "a")
    Pool.objects.update(run_state=RunState.PAUSED)
    assert "payments takes no jobs now" in text(signed_in(cast.bob).get(url(group)).content)


def test_jobs_by_pages(cast: Cast, payments: Pool) -> None:
    group = failed(payments, *numbered(25))
    client = signed_in(cast.vera)
    first = client.get(url(group)).content.decode()
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following and ">job-24<" in first and ">job-4<" not in first
    assert ">job-4<" in client.get(url(group) + following[1]).content.decode()
    assert ">job-24<" in client.get(url(group), {"cursor": "nonsense"}).content.decode()


def test_a_group_that_was_handled_says_so(cast: Cast, payments: Pool) -> None:
    group = failed(payments, "a", state=DeadLetterState.REQUEUED)
    page = text(signed_in(cast.bob).get(url(group)).content)
    assert "None is left" in page and "Nothing is left to requeue" in page


def test_hostile_text_stays_text(cast: Cast, payments: Pool) -> None:
    group = failed(payments, HOSTILE, title=f"{HOSTILE}: {HOSTILE}", func=HOSTILE, host=HOSTILE, worker=HOSTILE)
    with_traceback(DeadLetter.objects.get(), HOSTILE + "\n" + HOSTILE)
    page = signed_in(cast.bob).get(url(group)).content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_outsiders_learn_nothing(cast: Cast, payments: Pool) -> None:
    group = failed(payments, "a")
    for address in (url(group), "/dead-letters/groups/424242/", f"/dead-letters/groups/{10**30}/"):
        assert signed_in(cast.charlie).get(address).status_code == 404
    assert signed_in(cast.bob).post(url(group)).status_code == 405


def test_a_viewer_sees_what_is_missing(cast: Cast, payments: Pool) -> None:
    page = signed_in(cast.vera).get(url(failed(payments, "a")))
    assert "Requeue needs pools.requeue_dead_letters on payments. ada can grant it." in text(page.content)
    assert 'action="/dead-letters' not in page.content.decode()


def test_more_jobs_cost_no_more_queries(cast: Cast, payments: Pool) -> None:
    client = signed_in(cast.bob)

    def queries(group: FailureGroup) -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(url(group)).status_code == 200
        return len(seen)

    few = queries(failed(payments, "a"))
    many = failed(payments, *numbered(200), title="KeyError: 'x'")
    for n, letter in enumerate(many.dead_letters.all()):
        letter.host = letter.worker = f"host-{n}"
        letter.save()
    assert queries(many) == few <= 34
