"""The list of operations and the page of one: progress that adds up, who and why, the verbs that its state allows."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import remove_perm

from audit.models import Event
from pools.models import Operation, OperationItem, OperationState, OutboxMessage, Outcome, Pool
from pools.operations import Selection, operation_cancel, operation_pause, requeue_create
from pools.permissions import DISCARD, REQUEUE
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import HOSTILE, failed, numbered, pks
from tests.dead_letters.test_list import text
from tests.operations.conftest import Made
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

BIG = "5 MB " * 1024 * 1024


def url(operation: Operation, verb: str = "") -> str:
    return f"/operations/{operation.pk}/" + (f"{verb}/" if verb else "")


def settle(operation: Operation, *outcomes: str) -> None:
    """Give the first items these outcomes."""
    for item, outcome in zip(operation.items.order_by("position"), outcomes, strict=False):
        item.outcome, item.at = outcome, make.ago(seconds=30)
        item.save()


def test_progress_adds_up_to_the_frozen_set(cast: Cast, payments: Pool, requeue: Made) -> None:
    failed(payments, *numbered(10))
    operation = requeue()
    settle(operation, *["requeued"] * 5, "not_failed", "gone", "damaged")
    page = signed_in(cast.vera).get(url(operation)).content.decode()
    words = text(page.encode())
    assert "Requeue 10 dead letters in payments Sending" in words
    assert "80 % 8 of 10 have an outcome 3 skipped" in words
    assert "5 requeued, 2 skipped, no longer there, 1 skipped, damaged, 2 not sent yet" in page
    tabs = re.findall(r"(All|Requeued|Skipped|Not sent yet|Cancelled) <span class=\"pw-n\">(\d+)", page)
    assert tabs == [("All", "10"), ("Requeued", "5"), ("Skipped", "3"), ("Not sent yet", "2")]
    assert "handled by somebody else" in words and "the broker no longer has it" in words


def test_who_and_why(cast: Cast, payments: Pool, requeue: Made) -> None:
    failed(payments, "a")
    operation = requeue()
    page = signed_in(cast.otto).get(url(operation)).content.decode()
    assert "The gateway is back" in page and operation.ids_sha256 in page
    assert f'href="/audit/?target=operation+{operation.pk}"' in page
    assert 'href="/dead-letters/?"' in page
    found = signed_in(cast.otto).get(f"/audit/?target=operation+{operation.pk}")
    assert found.status_code == 200
    assert "/audit/?target" not in signed_in(cast.bob).get(url(operation)).content.decode()


@pytest.mark.parametrize(
    ("tab", "shown"), [("all", 5), ("done", 2), ("skipped", 2), ("pending", 1), ("nonsense", 5), ("cancelled", 0)]
)
def test_items_by_outcome(cast: Cast, payments: Pool, requeue: Made, tab: str, shown: int) -> None:
    failed(payments, *numbered(5))
    operation = requeue()
    settle(operation, "requeued", "requeued", "gone", "not_failed")
    page = signed_in(cast.vera).get(url(operation), {"show": tab}).content.decode()
    assert page.count('id="item-') - page.count('id="item-rows"') - page.count('id="item-tabs"') == shown
    assert ("No jobs match" in page) == (shown == 0)


def test_items_by_pages_in_the_order_of_sending(cast: Cast, payments: Pool, requeue: Made) -> None:
    failed(payments, *numbered(60))
    operation = requeue()
    client, cursor, seen = signed_in(cast.vera), "?show=pending", []
    for _ in range(4):
        page = client.get(url(operation) + cursor).content.decode()
        seen += re.findall(r'data-open title="(job-\d+)"', page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        if not following:
            break
        cursor = following[1].replace("&amp;", "&")
        assert "show=pending" in cursor
    assert seen == numbered(60)
    assert client.get(url(operation), {"cursor": "nonsense"}).status_code == 200


def test_the_list_newest_first(cast: Cast, payments: Pool, requeue: Made, discard: Made) -> None:
    failed(payments, *numbered(4))
    first, second = requeue("job-0", "job-1"), discard("job-2", "job-3")
    settle(first, "requeued", "gone")
    operation_cancel(actor=actor(cast.bob), operation=second, reason="wrong ones")
    client = signed_in(cast.vera)
    page = client.get("/operations/").content.decode()
    assert page.index(f'id="operation-{second.pk}"') < page.index(f'id="operation-{first.pk}"')
    words = text(page.encode())
    assert "Requeue 2 dead letters in payments" in words and "1 1 skipped" in words
    assert "All 2 Running 1 Cancelled 1" in words
    only = client.get("/operations/", {"state": "running"}).content.decode()
    assert f'id="operation-{first.pk}"' in only and f'id="operation-{second.pk}"' not in only
    assert "No operations match" in client.get("/operations/", {"state": "paused"}).content.decode()


def test_the_list_by_pages(cast: Cast, payments: Pool, requeue: Made) -> None:
    failed(payments, "a")
    made = [requeue("a").pk for _ in range(30)]
    client = signed_in(cast.vera)
    first = client.get("/operations/").content.decode()
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = client.get("/operations/" + following[1]).content.decode()
    seen = re.findall(r'id="operation-(\d+)"', first + second)
    assert [int(pk) for pk in seen] == made[::-1]


def test_no_operations_yet(cast: Cast, payments: Pool) -> None:
    assert "No operations yet" in signed_in(cast.vera).get("/operations/").content.decode()


MOVES = [
    ("pause", OperationState.RUNNING, OperationState.PAUSED, "operation.paused"),
    ("resume", OperationState.PAUSED, OperationState.RUNNING, "operation.resumed"),
    ("cancel", OperationState.RUNNING, OperationState.CANCELLED, "operation.cancelled"),
    ("cancel", OperationState.PAUSED, OperationState.CANCELLED, "operation.cancelled"),
    ("start", OperationState.FROZEN, OperationState.RUNNING, "operation.started"),
    ("cancel", OperationState.FROZEN, OperationState.CANCELLED, "operation.cancelled"),
]


@pytest.fixture
def running(payments: Pool, requeue: Made) -> Operation:
    failed(payments, "a", "b")
    return requeue()


def in_state(operation: Operation, state: str) -> Operation:
    Operation.objects.filter(pk=operation.pk).update(state=state)
    operation.refresh_from_db()
    return operation


def moves() -> list[str]:
    return list(Event.objects.order_by("pk").values_list("action", flat=True))[1:]


@pytest.mark.parametrize(("verb", "before", "after", "action"), MOVES)
def test_each_verb(cast: Cast, running: Operation, verb: str, before: str, after: str, action: str) -> None:
    in_state(running, before)
    client = signed_in(cast.bob)
    assert f'id="do-{verb}"' in client.get(url(running)).content.decode()
    response = client.post(url(running, verb), {"reason": "as agreed"}, follow=True)
    assert response.redirect_chain == [(url(running), 302)]
    running.refresh_from_db()
    assert running.state == after
    event = Event.objects.latest("pk")
    assert (event.action, event.actor_name, event.reason) == (action, "bob", "as agreed")
    assert event.before == {"state": before} and event.after == {"state": after}
    if verb == "cancel":
        assert set(running.items.values_list("outcome", flat=True)) == {Outcome.CANCELLED}
        assert running.ended_at is not None
        assert "Cancelled 2" in text(response.content)


def test_pausing_needs_no_reason_and_cancelling_does(cast: Cast, running: Operation) -> None:
    client = signed_in(cast.bob)
    for reason in ({}, {"reason": "  "}):
        response = client.post(url(running, "cancel"), reason)
        assert response.status_code == 422 and "Say why" in text(response.content)
    assert moves() == []
    assert client.post(url(running, "pause")).status_code == 302
    assert moves() == ["operation.paused"]


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "cancel"])
def test_what_the_state_does_not_allow_is_refused(cast: Cast, running: Operation, verb: str) -> None:
    in_state(running, OperationState.ENDED)
    client = signed_in(cast.bob)
    assert 'id="do-' not in client.get(url(running)).content.decode()
    response = client.post(url(running, verb), {"reason": "too late"})
    assert response.status_code == 422 and f"cannot {verb}" in text(response.content)
    assert moves() == [] and OutboxMessage.objects.count() == 1


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_the_wrong_role_is_refused_and_the_attempt_recorded(cast: Cast, running: Operation, verb: str) -> None:
    client = signed_in(cast.vera)
    page = client.get(url(running)).content.decode()
    assert 'id="do-' not in page and 'id="cancel"' not in page
    assert "This needs pools.requeue_dead_letters on payments. ada can grant it." in text(page.encode())
    assert client.post(url(running, verb), {"reason": "because"}).status_code == 403
    running.refresh_from_db()
    assert running.state == OperationState.RUNNING
    event = Event.objects.latest("pk")
    assert (event.outcome, event.actor_name, event.detail) == ("denied", "vera", {"permission": REQUEUE})


def test_the_right_to_requeue_is_not_the_right_to_discard(cast: Cast, payments: Pool, discard: Made) -> None:
    failed(payments, "a")
    operation = discard()
    remove_perm(DISCARD, cast.bob.groups.get(), payments)
    assert signed_in(cast.bob).post(url(operation, "pause")).status_code == 403
    assert Event.objects.latest("pk").detail == {"permission": DISCARD}


@pytest.mark.parametrize("verb", ["", "start", "pause", "resume", "cancel"])
def test_outsiders_learn_nothing(cast: Cast, running: Operation, verb: str) -> None:
    client = signed_in(cast.charlie)
    for address in (url(running, verb), f"/operations/424242/{verb}{'/' if verb else ''}"):
        response = client.post(address, {"reason": "x"}) if verb else client.get(address)
        assert response.status_code == 404
    assert "No operations yet" in client.get("/operations/").content.decode()
    assert moves() == []


@pytest.mark.parametrize("verb", ["start", "pause", "resume", "cancel"])
def test_only_post_acts(cast: Cast, running: Operation, verb: str) -> None:
    assert signed_in(cast.bob).get(url(running, verb)).status_code == 405
    assert signed_in(cast.bob).post(url(running)).status_code == 405
    assert moves() == []


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_a_reason_that_is_too_long(cast: Cast, running: Operation, verb: str) -> None:
    client = signed_in(cast.bob)
    long = client.post(url(running, verb), {"reason": "x" * 2001})
    assert long.status_code == 422 and "at most 2,000 fit" in text(long.content)
    assert verb != "cancel" or "x" * 2001 in long.content.decode()
    assert client.post(url(running, verb), {"reason": BIG}).status_code == 422
    running.refresh_from_db()
    assert running.state == OperationState.RUNNING and moves() == []


def test_an_operation_over_a_hidden_pool_is_hidden(cast: Cast, payments: Pool) -> None:
    hidden = make.pool(cast.elsewhere, "hidden")
    failed(payments, "a")
    failed(hidden, "b")
    cast.ada.is_superuser = True
    cast.ada.save()
    selection = Selection(ids=tuple(pks("a", "b")))
    operation = requeue_create(actor=actor(cast.ada), selection=selection, reason="everywhere")
    assert signed_in(cast.ada).get(url(operation)).status_code == 200
    assert signed_in(cast.bob).get(url(operation)).status_code == 404
    assert "everywhere" not in signed_in(cast.bob).get("/operations/").content.decode()


def test_hostile_text_stays_text(cast: Cast, payments: Pool) -> None:
    failed(payments, HOSTILE, func=HOSTILE, queue=HOSTILE)
    wanted = DeadLetterFilter(q="connect", task=HOSTILE)
    operation = requeue_create(actor=actor(cast.bob), selection=Selection(filter=wanted), reason=HOSTILE)
    operation_pause(actor=actor(cast.bob), operation=operation, reason=HOSTILE)
    for address in (url(operation), "/operations/"):
        page = signed_in(cast.bob).get(address).content.decode()
        assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page


def test_more_rows_cost_no_more_queries(cast: Cast, payments: Pool, requeue: Made) -> None:
    client = signed_in(cast.bob)

    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.get(address).status_code == 200
        return len(seen)

    failed(payments, *numbered(100))
    small = requeue("job-0")
    few, listed = queries(url(small)), queries("/operations/")
    for _ in range(10):
        large = requeue()
    OperationItem.objects.filter(operation=large, position__lt=50).update(outcome=Outcome.REQUEUED)
    assert queries(url(large)) == few <= 26
    assert queries("/operations/") == listed <= 24
