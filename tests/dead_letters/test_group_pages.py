"""Failure groups' states and owners on the pages: what is shown first, filters, forms, what is refused."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit.models import Event
from pools.models import DeadLetter, FailureGroup, GroupNote, GroupState, Operation, Pool
from pools.operations import Selection, requeue_create
from pools.selectors.dead_letters import DeadLetterFilter, FilterError, dead_letters, group_counts
from pools.selectors.inbox import group_rows
from tests.dead_letters.letters import HOSTILE, failed, numbered
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

LIST = "/dead-letters/"
WHY = {"reason": "The gateway is down"}
VERBS = ["acknowledge", "snooze", "unsnooze", "resolve", "reopen", "assign", "note", "runbook"]


def url(verb: str) -> str:
    return f"{LIST}groups/{verb}/"


def page_of(group: FailureGroup) -> str:
    return f"{LIST}groups/{group.pk}/"


@pytest.fixture
def groups(cast: Cast, payments: Pool) -> dict[str, FailureGroup]:
    """One in each state, the less urgent the larger; Bob owns the acknowledged one."""
    states: dict[str, dict[str, Any]] = {
        "new": {},
        "regressed": {"state": GroupState.REGRESSED},
        "acknowledged": {"state": GroupState.ACKNOWLEDGED, "owner": cast.bob},
        "snoozed": {"snoozed_total": 1000},
        "resolved": {"state": GroupState.RESOLVED},
    }
    made = {}
    for n, (name, changed) in enumerate(states.items()):
        group = failed(payments, *numbered(n + 1, name), title=f"Error{n}: {name}", minutes=5 + 60 * n)
        FailureGroup.objects.filter(pk=group.pk).update(**changed)
        made[name] = FailureGroup.objects.get(pk=group.pk)
    return made


def titles(cast: Cast, **wanted: str) -> list[str]:
    counts = group_counts(actor(cast.bob), DeadLetterFilter.from_query(wanted))
    return [row.cause for row in group_rows(counts)]


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("narrowed", [{}, {"since": "7d"}])
def test_what_awaits_a_decision_comes_first(cast: Cast, narrowed: dict[str, str]) -> None:
    assert titles(cast, **narrowed) == ["regressed", "new", "acknowledged", "snoozed", "resolved"]


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"group_state": "new"}, ["new"]),
        ({"group_state": "new,regressed"}, ["regressed", "new"]),
        ({"group_state": "snoozed"}, ["snoozed"]),
        ({"group_state": "snoozed,resolved"}, ["snoozed", "resolved"]),
        ({"owner": "bob"}, ["acknowledged"]),
        ({"owner": "me"}, ["acknowledged"]),
        ({"owner": "none"}, ["regressed", "new", "snoozed", "resolved"]),
        ({"owner": "alice"}, []),
        ({"owner": "none", "group_state": "acknowledged"}, []),
    ],
)
def test_filters_by_state_and_owner(cast: Cast, query: dict[str, str], found: list[str]) -> None:
    """The same for groups, for single jobs, and together with a filter that takes parts of groups."""
    assert titles(cast, **query) == titles(cast, **query, since="7d") == found
    bob, wanted = actor(cast.bob), DeadLetterFilter.from_query(query)
    jobs = set(dead_letters(bob, wanted).values_list("job_id", flat=True))
    assert {job_id.split("-")[0] for job_id in jobs} == set(found)
    counts = group_counts(bob, wanted)
    assert (sum(counts.values()), len(counts)) == (len(jobs), len(found))


@pytest.mark.parametrize("value", ["old", "new,", "New", "new;resolved"])
def test_a_state_that_does_not_exist_is_refused_by_name(value: str) -> None:
    with pytest.raises(FilterError) as refused:
        DeadLetterFilter.from_query({"group_state": value})
    assert refused.value.field == "group_state"


@pytest.mark.usefixtures("groups")
def test_an_operation_takes_what_its_filter_showed_and_remembers_whose_it_was(cast: Cast) -> None:
    chosen = Selection(filter=DeadLetterFilter(owner="me", group_state="acknowledged"))
    row = requeue_create(actor=actor(cast.bob), selection=chosen, expected_count=3, **WHY)
    assert set(row.items.values_list("job_id", flat=True)) == set(numbered(3, "acknowledged"))
    assert Operation.objects.get().selection == {"filter": {"group_state": "acknowledged", "owner": "bob"}}


@pytest.mark.usefixtures("groups")
def test_the_list_shows_states_owners_and_tabs(cast: Cast) -> None:
    page = text(signed_in(cast.bob).get(LIST).content).replace("&#x27;", "'")
    for word in ("New", "Regressed", "Acknowledged", "Snoozed for 996 more", "Resolved", "Mine 1", "Nobody's 4"):
        assert word in page, word
    mine = signed_in(cast.bob).get(LIST, {"owner": "me"}).content.decode()
    assert re.search(r'owner=me[^>]*aria-current="true">Mine', mine) and "Error2" in mine and "Error0" not in mine
    assert "Mine 0" in text(signed_in(cast.vera).get(LIST).content)
    assert "Mine 1" in text(signed_in(cast.bob).get(LIST, {"q": "no such words"}).content)  # a view counts its own


def test_the_page_of_a_group_says_who_did_what_and_why(cast: Cast, groups: dict[str, FailureGroup]) -> None:
    client, group = signed_in(cast.bob), groups["new"]
    client.post(url("snooze"), {"group": group.pk, "do": "1", "end": "version"} | WHY)
    client.post(url("note"), {"group": group.pk, "do": "1", "text": f"{HOSTILE}\nsecond line"})
    page = signed_in(cast.vera).get(page_of(group)).content.decode()
    assert "Snoozed until v2" in text(page.encode())
    assert "bob snoozed it until config v2 is published" in text(page.encode()) and "The gateway is down" in page
    assert "<script>alert" not in page and "<br>second line" in page
    assert "formaction" not in page and 'action="/dead-letters' not in page


def test_each_state_offers_its_verbs(cast: Cast, groups: dict[str, FailureGroup]) -> None:
    client = signed_in(cast.bob)
    offered = {
        name: re.findall(r'formaction="/dead-letters/groups/(\w+)/"', client.get(page_of(group)).content.decode())
        for name, group in groups.items()
    }
    assert offered == {
        "new": ["acknowledge", "assign", "snooze", "resolve", "runbook"],
        "regressed": ["acknowledge", "assign", "snooze", "resolve", "runbook"],
        "acknowledged": ["assign", "snooze", "resolve", "runbook"],
        "snoozed": ["unsnooze", "assign", "snooze", "resolve", "runbook"],
        "resolved": ["reopen", "assign", "runbook"],
    }


def test_a_form_first_and_then_the_act(cast: Cast, groups: dict[str, FailureGroup]) -> None:
    client, both = signed_in(cast.bob), [groups["new"].pk, groups["regressed"].pk]
    page = client.post(url("resolve") + "?pool=payments", {"group": both})
    assert page.status_code == 200 and not Event.objects.exists()
    assert "Resolve 2 failure groups" in text(page.content) and "3 jobs stay dead letters" in text(page.content)
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.content.decode())
    fields: dict[str, list[str]] = {}
    for name, value in hidden:
        fields.setdefault(name, []).append(value)
    assert fields["expected_version"] == ["2"] and fields["group"] == [str(pk) for pk in both]
    back = client.post(url("resolve"), fields | WHY | {"next": "/dead-letters/?pool=payments"})
    assert back.status_code == 302 and back["Location"] == "/dead-letters/?pool=payments"
    assert FailureGroup.objects.filter(state=GroupState.RESOLVED).count() == 3


def test_all_that_match_are_taken_and_no_more(cast: Cast, groups: dict[str, FailureGroup]) -> None:
    client = signed_in(cast.bob)
    for query in ("group_state=new,regressed", "group_state=acknowledged&q=Error"):
        page = client.post(f"{url('assign')}?{query}", {"all_matching": "1", "group": groups["resolved"].pk})
        chosen = re.findall(r'name="group" value="(\d+)"', page.content.decode())
        client.post(url("assign"), {"do": "1", "group": chosen, "owner": "vera"})
    owners = dict(FailureGroup.objects.values_list("title", "owner__username"))
    assert owners == {
        "Error0: new": "vera",
        "Error1: regressed": "vera",
        "Error2: acknowledged": "vera",
        "Error3: snoozed": None,
        "Error4: resolved": None,
    }


def test_all_that_match_are_shown_before_anything_is_done(cast: Cast, groups: dict[str, FailureGroup]) -> None:
    """Also for a verb whose button acts at once on what was ticked."""
    page = signed_in(cast.bob).post(f"{url('acknowledge')}?group_state=new,regressed", {"all_matching": "1", "do": "1"})
    assert page.status_code == 200 and "Acknowledge 2 failure groups" in text(page.content)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("verb", "said", "words"),
    [
        ("resolve", {}, "Say why: the reason goes into the audit log. Nothing was changed."),
        ("snooze", {"end": "1h"}, "Say why: the reason goes into the audit log. Nothing was changed."),
        ("snooze", WHY | {"end": "until"}, "Say when it ends. Nothing was changed."),
        ("snooze", WHY | {"end": "until", "until": "2020-01-01 09:00"}, "The time must be within a year from now."),
        ("snooze", WHY | {"end": "until", "until": "soon"}, "Enter a valid date/time."),
        ("snooze", WHY | {"end": "failures", "failures": "0"}, "greater than or equal to 1"),
        ("snooze", WHY | {"end": "never"}, "Select a valid choice."),
        ("assign", {"owner": "charlie"}, "Select a valid choice."),
        ("note", {"text": " "}, "Write something. Nothing was changed."),
        ("note", {"text": "x" * 2001}, "at most 2,000 fit. Nothing was changed."),
        ("runbook", {"url": "javascript:alert(1)"}, "Enter a valid URL."),
        ("runbook", {"url": "ftp://runbooks.example/"}, "Give a whole http or https address. Nothing was changed."),
        ("reopen", {}, "you cannot reopen it. Nothing was changed."),
        ("unsnooze", {}, "is not snoozed. Nothing was changed."),
    ],
)
def test_what_is_refused_stays_in_the_form(
    cast: Cast, groups: dict[str, FailureGroup], verb: str, said: dict[str, str], words: str
) -> None:
    response = signed_in(cast.bob).post(url(verb), {"group": groups["new"].pk, "do": "1"} | said)
    assert response.status_code == 422 and words in text(response.content).replace("&#x27;", "'")
    assert not Event.objects.exists() and not GroupNote.objects.exists()


def test_somebody_else_was_quicker(cast: Cast, groups: dict[str, FailureGroup]) -> None:
    group = groups["new"]
    FailureGroup.objects.filter(pk=group.pk).update(revision=4, state=GroupState.ACKNOWLEDGED)
    said = {"group": group.pk, "do": "1", "expected_version": "1"} | WHY
    response = signed_in(cast.bob).post(url("resolve"), said)
    assert response.status_code == 409
    page = response.content.decode()
    assert "This failure group has changed since you looked" in page and "The gateway is down" in page
    assert 'name="expected_version" value="4"' in page


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_selected_unreadable_or_by_link(cast: Cast, payments: Pool, verb: str) -> None:
    client = signed_in(cast.bob)
    by_link = client.get(url(verb), {"group": failed(payments, "a").pk, "do": "1"})
    assert (by_link.status_code, by_link["Allow"]) == (405, "POST")
    for address, selection in (
        (url(verb), {}),
        (url(verb), {"group": "x"}),
        (url(verb) + "?since=soonish", {"all_matching": "1"}),
        (url(verb) + "?pool=nothing", {"all_matching": "1"}),
    ):
        response = client.post(address, selection | {"do": "1"} | WHY)
        assert response.status_code == 422 and not Event.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_outsiders_learn_nothing(cast: Cast, groups: dict[str, FailureGroup], verb: str) -> None:
    for pk in (groups["new"].pk, 424242):
        for more in ({}, {"do": "1"}):
            assert signed_in(cast.charlie).post(url(verb), {"group": pk} | WHY | more).status_code == 404
    assert not Event.objects.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_a_viewer_is_told_what_is_missing(cast: Cast, groups: dict[str, FailureGroup], verb: str) -> None:
    page = signed_in(cast.vera).post(url(verb), {"group": groups["new"].pk})
    assert "needs pools.requeue_dead_letters on payments. ada can grant it." in text(page.content)
    assert 'type="submit"' not in page.content.decode().split('id="confirm-form"')[1].split("</section>")[0]


def test_more_groups_cost_no_more_queries(cast: Cast, payments: Pool) -> None:
    client = signed_in(cast.bob)

    def queries(selection: list[int]) -> int:
        with CaptureQueriesContext(connection) as seen:
            assert client.post(url("assign"), {"group": selection}).status_code == 200
        return len(seen)

    pks = [make.failure_group(payments, f"Error{n}", owner=cast.vera).pk for n in range(12)]
    assert queries(pks) == queries(pks[:1]) <= 20
    assert DeadLetter.objects.count() == 0
