"""Requeue and discard from the pages: by whom, what exactly, and what stays as it was."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import Event
from pools.models import DeadLetter, DeadLetterState, Operation, OutboxMessage, Pool, RunState
from pools.permissions import REQUEUE, VIEW
from tests.dead_letters.letters import HOSTILE, failed, numbered, pks
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

VERBS = ["requeue", "discard", "quarantine", "archive"]
RIGHTS = {verb: "requeue_dead_letters" if verb == "requeue" else "discard_dead_letters" for verb in VERBS}
WORDS = {
    "requeue": "will go back to the end of their queues",
    "discard": "will move to the trash",
    "quarantine": "will move to the quarantine",
    "archive": "will move to the archive",
}
BIG = "5 MB " * 1024 * 1024


def url(verb: str) -> str:
    return f"/dead-letters/{verb}/"


def nothing_happened() -> bool:
    untouched = not Operation.objects.exists() and not OutboxMessage.objects.exists()
    return untouched and not DeadLetter.objects.exclude(state=DeadLetterState.OPEN).exists()


def confirmed(client: Client, address: str, selection: dict[str, Any], reason: str = "The gateway is back") -> Any:
    """Press the button of a selection, then the button of the confirmation, with whatever its form holds."""
    page = client.post(address, selection)
    assert page.status_code == 200, text(page.content)
    form = re.search(r'<form class="pw-form" method="post" action="([^"]+)">(.*?)</form>', page.content.decode(), re.S)
    assert form
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', form[2]):
        fields.setdefault(name, []).append(value)
    return client.post(form[1].replace("&amp;", "&"), fields | {"reason": reason})


@pytest.mark.parametrize("verb", VERBS)
def test_a_selection_is_shown_and_then_done(cast: Cast, payments: Pool, reports: Pool, verb: str) -> None:
    failed(payments, "a", "b", "c")
    failed(reports, "d", title="KeyError: 'x'", func="shop.reports.run")
    client = signed_in(cast.bob)
    chosen = pks("a", "c", "d")
    page = text(client.post(url(verb), {"id": chosen}).content)
    assert f"{verb.capitalize()} 3 dead letters" in page and WORDS[verb] in page
    assert "2 TimeoutError 1 KeyError" in page and "payments 2 , reports 1" in page
    assert "Failed in the last hour 3" in page
    assert ("Canary" in page) == ("what would be skipped" in page) == (verb == "requeue"), "the others have no plan"
    assert nothing_happened()

    done = confirmed(client, url(verb), {"id": chosen})
    operation = Operation.objects.get()
    assert done["Location"] == f"/operations/{operation.pk}/"
    assert (operation.kind, operation.reason, operation.actor_name) == (verb, "The gateway is back", "bob")
    assert set(operation.items.values_list("job_id", flat=True)) == {"a", "c", "d"}
    assert OutboxMessage.objects.get().key == str(operation.pk)
    event = Event.objects.get()
    assert (event.action, event.outcome) == (f"operation.{verb}_started", "intent")
    assert event.detail["frozen"] == 3 and event.detail["pools"] == ["payments", "reports"]


def test_ticked_groups_are_taken_as_far_as_the_filter_matches(cast: Cast, payments: Pool, reports: Pool) -> None:
    first = failed(payments, "a", "b", "c")
    failed(payments, "d", title="KeyError: 'x'")
    DeadLetter.objects.filter(job_id="a").update(queue="payments.high")
    third = failed(reports, "e", title="ValueError: y", queue="payments.high")
    address = url("requeue") + "?queue=payments.high"
    assert confirmed(signed_in(cast.bob), address, {"group": [first.pk, third.pk]}).status_code == 302
    assert set(Operation.objects.get().items.values_list("job_id", flat=True)) == {"a", "e"}


def test_everything_that_matches(cast: Cast, payments: Pool, reports: Pool) -> None:
    """Not only what the page shows, and nothing beyond the filter."""
    failed(payments, *numbered(120))
    failed(reports, "other")
    address = url("discard") + "?pool=payments"
    selection = {"all_matching": "1", "id": pks("other")}
    assert confirmed(signed_in(cast.bob), address, selection).status_code == 302
    operation = Operation.objects.get()
    assert operation.frozen_count == 120 and set(operation.pools.all()) == {payments}
    assert operation.selection["filter"]["pool"] == "payments"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("who", ["vera", "otto"])
def test_the_wrong_role_is_refused_and_the_attempt_recorded(cast: Cast, payments: Pool, verb: str, who: str) -> None:
    failed(payments, "a")
    client = signed_in(getattr(cast, who))
    locked = client.post(url(verb), {"id": pks("a")}).content.decode()
    assert f"needs pools.{RIGHTS[verb]} on payments. ada can grant it" in text(locked.encode())
    assert 'name="reason"' not in locked and not Event.objects.exists()

    response = client.post(url(verb), {"id": pks("a"), "reason": "because I can"})
    assert response.status_code == 403
    assert f"{RIGHTS[verb]} on payments" in text(response.content)
    assert nothing_happened()
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name) == (f"operation.{verb}_started", "denied", who)
    assert event.detail == {"permission": RIGHTS[verb]} and event.reason == "because I can"


def test_rights_on_one_of_two_pools_are_not_enough_for_both(cast: Cast, payments: Pool, hidden: Pool) -> None:
    """Bob may see both and requeue in one: the mixed selection is refused as a whole, the rest goes alone."""
    from guardian.shortcuts import assign_perm

    assign_perm(VIEW, cast.bob.groups.get(), hidden)
    failed(payments, "mine")
    failed(hidden, "theirs")
    client = signed_in(cast.bob)
    both = pks("mine", "theirs")
    assert f"needs pools.{REQUEUE} on hidden" in text(client.post(url("requeue"), {"id": both}).content)
    assert client.post(url("requeue"), {"id": both, "reason": "x"}).status_code == 403
    assert nothing_happened()
    assert Event.objects.get().target_name == "hidden"
    assert confirmed(client, url("requeue"), {"id": pks("mine")}).status_code == 302


@pytest.mark.parametrize("verb", VERBS)
def test_outsiders_learn_nothing(cast: Cast, payments: Pool, verb: str) -> None:
    group = failed(payments, "a")
    client = signed_in(cast.charlie)
    for selection in ({"id": pks("a")}, {"group": group.pk}, {"id": 424242}):
        for reason in ({}, {"reason": "x"}):
            assert client.post(url(verb), selection | reason).status_code == 404
    everything = client.post(url(verb), {"all_matching": "1", "reason": "x"})
    assert everything.status_code == 422 and "payments" not in everything.content.decode()
    assert nothing_happened() and not Event.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_only_post_acts(cast: Cast, payments: Pool, verb: str) -> None:
    failed(payments, "a")
    client = signed_in(cast.bob)
    by_link = client.get(url(verb), {"id": pks("a"), "reason": "x"})
    assert (by_link.status_code, by_link["Allow"]) == (405, "POST")
    assert "Select what to handle first. Nothing was changed." in text(by_link.content)
    assert Client(enforce_csrf_checks=True).post(url(verb), {"id": pks("a"), "reason": "x"}).status_code in (302, 403)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.bob)
    assert strict.post(url(verb), {"id": pks("a"), "reason": "x"}).status_code == 403
    assert nothing_happened()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("reason", "said"),
    [("", "Say why"), (" \n ", "Say why"), ("x" * 2001, "at most 2,000 fit"), ("a\x00b", "Null characters")],
)
def test_a_reason_that_will_not_do_keeps_all_that_was_typed(
    cast: Cast, payments: Pool, verb: str, reason: str, said: str
) -> None:
    failed(payments, "a", "b")
    response = signed_in(cast.bob).post(url(verb), {"id": pks("a", "b"), "reason": reason, "expected_count": 2})
    page = response.content.decode()
    assert response.status_code == 422 and said in text(page.encode())
    assert f"{verb.capitalize()} 2 jobs</button>" in page
    assert all(f'name="id" value="{pk}"' in page for pk in pks("a", "b"))
    assert reason.strip() in page.replace("\x00", "\x00")
    assert nothing_happened() and not Event.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_reason_of_5_mb_is_a_clear_error(cast: Cast, payments: Pool, verb: str) -> None:
    failed(payments, "a")
    response = signed_in(cast.bob).post(url(verb), {"id": pks("a"), "reason": BIG})
    assert response.status_code == 422
    assert "at most 2,000 fit" in response.content.decode() and BIG.strip() in response.content.decode()
    assert nothing_happened() and not Event.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_changed_set_is_shown_again_instead(cast: Cast, payments: Pool, verb: str) -> None:
    failed(payments, "a", "b", "c")
    DeadLetter.objects.filter(job_id="c").update(state=DeadLetterState.REQUEUED)
    before = pks("a", "b", "c")
    client = signed_in(cast.bob)
    response = client.post(url(verb), {"id": before, "expected_count": 3, "reason": "The gateway is back"})
    page = response.content.decode()
    assert response.status_code == 409
    assert "2 dead letters match now, not 3. Nothing was changed." in text(page.encode())
    assert f"{verb.capitalize()} 2 jobs</button>" in page and 'name="expected_count" value="2"' in page
    assert "The gateway is back</textarea>" in page
    assert not Operation.objects.exists() and not Event.objects.exists()
    again = client.post(url(verb), {"id": before, "expected_count": 2, "reason": "The gateway is back"})
    assert again.status_code == 302


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_handled_already_is_said(cast: Cast, payments: Pool, verb: str) -> None:
    failed(payments, "a", state=DeadLetterState.REQUEUED)
    client = signed_in(cast.bob)
    shown = client.post(url(verb), {"id": pks("a")})
    assert shown.status_code == 200 and "They have been handled already".lower() in text(shown.content).lower()
    late = client.post(url(verb), {"id": pks("a"), "reason": "x", "expected_count": 1})
    assert late.status_code == 422
    assert not Operation.objects.exists() and not Event.objects.exists()


@pytest.mark.parametrize(
    ("query", "body"),
    [("", {}), ("", {"id": "x"}), ("", {"id": "9" * 40}), ("?since=soon", {"all_matching": "1"}), ("?group=x", {})],
)
def test_a_selection_that_cannot_be_read(cast: Cast, payments: Pool, query: str, body: dict[str, str]) -> None:
    failed(payments, "a")
    for reason in ({}, {"reason": "x"}):
        response = signed_in(cast.bob).post(url("requeue") + query, body | reason)
        assert response.status_code == 422 and "Back" in text(response.content)
    assert nothing_happened()


@pytest.mark.parametrize("verb", VERBS)
def test_hostile_text_stays_text(cast: Cast, payments: Pool, verb: str) -> None:
    failed(payments, HOSTILE, title=f"{HOSTILE}: {HOSTILE}", func=HOSTILE)
    client = signed_in(cast.bob)
    page = client.post(url(verb), {"id": pks(HOSTILE)}).content.decode()
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    done = confirmed(client, url(verb), {"id": pks(HOSTILE)}, reason=HOSTILE)
    for address in (done["Location"], "/operations/"):
        page = client.get(address).content.decode()
        assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert Operation.objects.get().reason == HOSTILE and Event.objects.get().reason == HOSTILE


def test_what_waits_or_is_skipped_is_said_before_the_click(cast: Cast, payments: Pool) -> None:
    failed(payments, "a", damaged="the payload is missing")
    Pool.objects.update(run_state=RunState.DRAINING)
    page = text(signed_in(cast.bob).post(url("requeue"), {"id": pks("a")}).content)
    assert "payments takes no jobs now: what is sent there waits." in page
    assert "1 job could not be read in full" in page


@pytest.mark.parametrize("state", ["open", "half_open", "held", "closed"])
def test_an_open_breaker_is_said_before_the_click(cast: Cast, payments: Pool, state: str) -> None:
    breakers = {"gateway": {"state": state, "tasks": ["shop.charge*"]}, "smtp": {"state": "open", "tasks": ["mail.*"]}}
    make.sampled(payments, gates={"breakers": breakers, "limits": {}})
    failed(payments, "a", func="shop.charge_card")
    page = text(signed_in(cast.bob).post(url("requeue"), {"id": pks("a")}).content)
    said = "Breaker gateway of payments is open: jobs of its tasks wait in their queues until it closes."
    assert (said in page) is (state != "closed") and "smtp" not in page
    assert said not in text(signed_in(cast.bob).post(url("discard"), {"id": pks("a")}).content)


def test_the_dialog_gets_the_form_alone(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    answer = signed_in(cast.bob).post(url("requeue"), {"id": pks("a")}, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in answer and 'id="confirm-form"' in answer and "csrfmiddlewaretoken" in answer


def test_more_jobs_cost_no_more_queries(cast: Cast, payments: Pool, reports: Pool) -> None:
    client = signed_in(cast.bob)
    group = failed(payments, "a")
    failed(reports, *numbered(100))

    def queries(query: str) -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.post(url("requeue") + query, {"all_matching": "1"}).status_code == 200
        return len(seen)

    assert queries("") == queries("?pool=payments") <= 28
    assert queries(f"?group={group.pk}") <= 28
