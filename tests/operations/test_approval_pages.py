"""Approval on the pages: said before the click, seen by who can give it, given or refused."""

import re

import pytest
from django.test import Client

from pools.models import Approval, Operation, OperationState, OutboxMessage, Pool
from tests.dead_letters.letters import HOSTILE, failed, numbered, pks
from tests.dead_letters.test_list import text
from tests.operations.conftest import Made
from tests.support.cast import Cast, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def critical(payments: Pool) -> Pool:
    payments.approval_limit = 3
    payments.save()
    failed(payments, *numbered(10))
    return payments


@pytest.fixture
def asked(critical: Pool, requeue: Made) -> Operation:
    """Bob asks for all ten."""
    return requeue()


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return text(response.content)


@pytest.mark.parametrize("verb", ["requeue", "discard"])
def test_it_is_said_before_the_click(cast: Cast, critical: Pool, verb: str) -> None:
    client = signed_in(cast.bob)
    shown = text(client.post(f"/dead-letters/{verb}/", {"id": pks(*numbered(4))}).content)
    assert "4 jobs in payments: more than 3 there need a second person" in shown
    assert "ada can give it, within 24 hours. Nothing is sent before." in shown and f"Ask to {verb} 4 jobs" in shown
    few = text(client.post(f"/dead-letters/{verb}/", {"id": pks(*numbered(3))}).content)
    assert "approval" not in few and f"{verb.capitalize()} 3 jobs" in few
    assert "there need a second person" in page(client, "/dead-letters/preview/?pool=payments")
    group = page(client, f"/dead-letters/groups/{critical.failure_groups.get().pk}/")
    assert "Ask to requeue 10 jobs" in group and "ada can give it" in group


def test_when_nobody_could_give_it_that_is_said(cast: Cast, critical: Pool) -> None:
    shown = text(signed_in(cast.ada).post("/dead-letters/requeue/", {"id": pks(*numbered(4))}).content)
    assert "Nobody else holds pools.approve_operations on payments now. ada can grant it." in shown


def test_asking_by_the_form(cast: Cast, critical: Pool) -> None:
    posted = {"id": pks(*numbered(4)), "reason": "The gateway is back"}
    response = signed_in(cast.bob).post("/dead-letters/requeue/", posted, follow=True)
    assert "Requeue of 4 jobs awaits the approval of another person." in text(response.content)
    assert Operation.objects.get().state == OperationState.AWAITING


def test_the_overview_and_the_list_show_it(cast: Cast, asked: Operation) -> None:
    for who, words in {"ada": "It needs your approval.", "vera": "It awaits another"}.items():
        client = signed_in(getattr(cast, who))
        shown = page(client, "/")
        assert "bob asks to requeue 10 dead letters in payments" in shown and words in shown
        assert f'href="/operations/{asked.pk}/"' in client.get("/").content.decode()
        listed = page(client, "/operations/?state=awaiting")
        assert "Awaiting approval 1" in listed and "Requeue 10 dead letters" in listed
    assert "asks to" not in page(signed_in(cast.charlie), "/")


def test_its_page_for_the_approver(cast: Cast, asked: Operation) -> None:
    client = signed_in(cast.ada)
    shown = page(client, f"/operations/{asked.pk}/")
    assert "The frozen set" in shown and "By error 10 TimeoutError" in shown and "10 failed in the last hour" in shown
    assert "Approve and requeue 10 jobs" in shown and "Decline" in shown
    html = client.get(f"/operations/{asked.pk}/").content.decode()
    form = re.search(r'<form class="pw-form" method="post" action="(/operations/\d+/approve/)">', html)
    assert form and f'name="ids_sha256" value="{asked.ids_sha256}"' in html
    missing = client.post(form[1], {})
    assert missing.status_code == 422 and "Say why" in text(missing.content)
    wrong = client.post(form[1], {"reason": "Kept text", "ids_sha256": "0" * 64})
    assert wrong.status_code == 409 and "Kept text" in wrong.content.decode()
    assert Operation.objects.get().state == OperationState.AWAITING
    done = client.post(form[1], {"reason": "Fine", "ids_sha256": asked.ids_sha256}, follow=True)
    assert "is approved and has begun" in text(done.content) and "Approved by ada : “Fine”" in text(done.content)
    assert OutboxMessage.objects.count() == 1


def test_declining(cast: Cast, asked: Operation) -> None:
    client = signed_in(cast.ada)
    done = client.post(f"/operations/{asked.pk}/decline/", {"reason": HOSTILE}, follow=True)
    assert "is declined: nothing was sent" in text(done.content) and "<script>alert" not in done.content.decode()
    assert Approval.objects.get().decision == "declined"


def test_its_page_for_who_asked(cast: Cast, asked: Operation) -> None:
    client = signed_in(cast.bob)
    shown = page(client, f"/operations/{asked.pk}/")
    assert "another person decides: ada can. Nothing is sent before." in shown
    assert (
        "Approve and" not in shown
        and "Withdraw…" in shown
        and 'id="do-start"' not in client.get(f"/operations/{asked.pk}/").content.decode()
    )
    client.post(f"/operations/{asked.pk}/cancel/", {"reason": "No"})
    assert Approval.objects.get().decision == "withdrawn"


@pytest.mark.parametrize("who", ["alice", "vera", "otto"])
def test_its_page_for_who_may_not(cast: Cast, asked: Operation, who: str) -> None:
    client = signed_in(getattr(cast, who))
    shown = page(client, f"/operations/{asked.pk}/")
    assert "Approving needs pools.approve_operations on payments. ada can grant it." in shown
    assert "ada can approve it." in shown and 'id="do-approve"' not in shown
    for verb in ("approve", "decline"):
        assert client.post(f"/operations/{asked.pk}/{verb}/", {"reason": "x"}).status_code == 403
    assert Operation.objects.get().state == OperationState.AWAITING


@pytest.mark.parametrize("verb", ["approve", "decline"])
def test_only_by_post_and_not_for_outsiders(cast: Cast, asked: Operation, verb: str) -> None:
    address = f"/operations/{asked.pk}/{verb}/"
    assert signed_in(cast.ada).get(address).status_code == 405
    assert signed_in(cast.charlie).post(address, {"reason": "x"}).status_code == 404
    assert Operation.objects.get().state == OperationState.AWAITING


def test_an_operation_that_needs_none(cast: Cast, critical: Pool, requeue: Made) -> None:
    row = requeue("job-1")
    assert signed_in(cast.ada).post(f"/operations/{row.pk}/approve/", {"reason": "x"}).status_code == 422
    assert "Approval" not in page(signed_in(cast.ada), f"/operations/{row.pk}/")


def test_the_limit_is_set_where_the_pool_is_described(cast: Cast, payments: Pool) -> None:
    posted = {
        "name": "Payments",
        "criticality": "critical",
        "approval_limit": "50",
        "poison_after": "3",
        "expected_version": "1",
    }
    assert signed_in(cast.alice).post("/pools/payments/edit/", posted).status_code == 302
    payments.refresh_from_db()
    assert payments.approved_above == 50
    assert "above 50 dead letters" in page(signed_in(cast.vera), "/pools/payments/")
    for bad in ("-1", "many", "9" * 12):
        refused = signed_in(cast.alice).post("/pools/payments/edit/", posted | {"approval_limit": bad})
        assert refused.status_code == 422
