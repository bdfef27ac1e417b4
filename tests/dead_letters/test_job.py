"""One job's story: what happened to it, who did what and why, and what comes."""

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools.broker.payload_mask import MASK
from pools.models import DeadLetter, DeadLetterState, FailedAttempt, Pool
from pools.operations import Selection, operation_cancel, requeue_create
from tests.dead_letters.letters import HOSTILE, failed, pks, with_traceback
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in


def url(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}/"


def test_the_timeline_tells_the_story_in_order(cast: Cast, payments: Pool) -> None:
    failed(
        payments,
        "a",
        created_at=make.ago(minutes=12),
        enqueued_at=make.ago(minutes=11.5),
        started_at=make.ago(minutes=11),
        worker="pay-01/1",
        config_number=1,
        attempts=2,
        arguments=f"({MASK}, order={MASK})",
        expires_at=timezone.now() + timedelta(days=3),
    )
    letter = with_traceback(DeadLetter.objects.get())
    FailedAttempt.objects.create(
        dead_letter=letter, number=1, failed_at=make.ago(minutes=11.2), exc_type="KeyError", message="'x'"
    )
    operation = requeue_create(
        actor=actor(cast.bob), selection=Selection(ids=(letter.pk,)), reason="The gateway is back"
    )
    operation_cancel(actor=actor(cast.bob), operation=operation, reason="not yet")
    page = text(signed_in(cast.vera).get(url("a")).content)
    story = page[page.index("Timeline") :]
    said = ["Created", "Enqueued on payments", "attempt 1", "Started on pay-01/1 on config v1", "attempt 2"]
    said += ["Not sent: cancelled", f"operation {operation.pk} by bob: “The gateway is back”", "The broker deletes it"]
    places = [story.index(words) for words in said]
    assert places[:2] + places[3:] == sorted(places[:2] + places[3:])
    assert "shop/payments/gateway.py:41" in page
    assert f"Arguments ({MASK}, order={MASK})" in page


@pytest.mark.parametrize("job_id", ["a b", "a:b", "a/b", "a//b/", "?x=1#y", "%2F", "ünï", "-", "line\nend", HOSTILE])
def test_any_id_has_its_page(cast: Cast, payments: Pool, job_id: str) -> None:
    failed(payments, job_id)
    client = signed_in(cast.bob)
    listed = client.get("/dead-letters/", {"show": "jobs"}).content.decode()
    link = re.search(r'href="(/jobs/[^"]+)"', listed)
    assert link
    page = client.get(link[1].replace("&amp;", "&").replace("&#x27;", "'"))
    assert page.status_code == 200
    assert f'value="{pks(job_id)[0]}"' in page.content.decode()
    assert "<script>alert" not in page.content.decode()


def test_a_job_that_runs_now_is_known_by_its_worker(cast: Cast, payments: Pool) -> None:
    make.worker(payments, current_job_id="r1", current_func="shop.payments.capture", current_since=make.ago(seconds=5))
    page = text(signed_in(cast.vera).get(url("r1")).content)
    assert "Running on pay-01/1" in page and "shop.payments.capture" in page
    assert signed_in(cast.charlie).get(url("r1")).status_code == 404


def test_a_job_that_nobody_knows_gets_an_answer_that_helps(cast: Cast, payments: Pool, hidden: Pool) -> None:
    failed(hidden, "secret")
    for job_id in ("unknown", "secret", "nul\x00"):
        response = signed_in(cast.bob).get(url(job_id))
        assert response.status_code == 404
        assert "The console does not know this job" in text(response.content)
        assert "shop.payments" not in response.content.decode()


@pytest.mark.parametrize(
    ("state", "word"), [("requeued", "Requeued"), ("discarded", "Discarded"), ("gone", "Gone from the broker")]
)
def test_what_was_handled_offers_nothing(cast: Cast, payments: Pool, state: str, word: str) -> None:
    failed(payments, "a", state=DeadLetterState(state), closed_at=timezone.now())
    page = signed_in(cast.bob).get(url("a")).content.decode()
    assert word in text(page.encode()) and "/dead-letters/requeue/" not in page


def test_a_viewer_sees_what_is_missing(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    page = signed_in(cast.vera).get(url("a")).content
    assert "Discard needs pools.discard_dead_letters on payments. ada can grant it." in text(page)


def test_others_operations_over_hidden_pools_stay_out(cast: Cast, payments: Pool, hidden: Pool) -> None:
    failed(payments, "a")
    failed(hidden, "b")
    cast.ada.is_superuser = True
    cast.ada.save()
    requeue_create(
        actor=actor(cast.ada), selection=Selection(ids=tuple(pks("a", "b"))), reason="cleaning up everywhere"
    )
    assert "cleaning up" in text(signed_in(cast.ada).get(url("a")).content)
    assert "cleaning up" not in text(signed_in(cast.bob).get(url("a")).content)


def test_few_queries(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    letter = DeadLetter.objects.get()
    for n in range(1, 6):
        FailedAttempt.objects.create(dead_letter=letter, number=n, failed_at=timezone.now(), exc_type="E", message="m")
        made = requeue_create(actor=actor(cast.bob), selection=Selection(ids=(letter.pk,)), reason="again")
        operation_cancel(actor=actor(cast.bob), operation=made)
    client = signed_in(cast.bob)
    with CaptureQueriesContext(connection) as seen:
        client.get(url("a"))
    assert len(seen) <= 26
