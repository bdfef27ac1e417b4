"""Saved views: kept under a name, shared with a team, begun with; nobody changes another's, none gives a right."""

from typing import Any

import pytest
from django.test import Client

from audit.models import Event
from controlplane.saved_queries import SAVED_EACH
from pools.models import DefaultView, Pool, SavedView
from pools.operations import view_save
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import HOSTILE, failed
from tests.dead_letters.test_list import URL, text
from tests.support.cast import Cast, actor, signed_in
from tests.support.events import recent_actions

VIEWS = f"{URL}views/"


def saved(person: Any, name: str = "late", query: str = "until=24h", **more: Any) -> SavedView:
    wanted = DeadLetterFilter.from_query(dict(part.split("=") for part in query.split("&")))
    return view_save(actor=actor(person), name=name, wanted=wanted, **more)


def post(client: Client, view: SavedView, verb: str, **fields: str) -> Any:
    return client.post(f"{VIEWS}{view.pk}/{verb}/", fields)


def names(person: Any) -> list[str]:
    page = signed_in(person).get(URL, {"show": "groups"}).content.decode()
    tabs = page.split('id="views"')[1].split("</nav>")[0]
    return [name.strip() for name in text(tabs.replace("</a>", "</a>|").encode()).split("|")]


def test_what_the_inbox_is_narrowed_to_is_kept(cast: Cast, payments: Pool) -> None:
    client = signed_in(cast.bob)
    form = client.get(VIEWS, {"queue": "-low", "since": "24h"}).content.decode()
    assert "<code>-queue:low age:&lt;24h</code>" in form and 'name="query" value="queue=-low&amp;since=24h"' in form
    response = client.post(VIEWS, {"name": " last night ", "query": "queue=-low&since=24h"})
    assert (response.status_code, response["Location"]) == (302, f"{URL}?queue=-low&since=24h")
    view = SavedView.objects.get()
    assert (view.name, view.query, view.team, view.owner_name) == ("last night", "queue=-low&since=24h", None, "bob")
    page = client.get(f"{URL}?{view.query}").content.decode()
    assert f'href="{URL}?queue=-low&amp;since=24h" aria-current="true">last night<' in page
    assert recent_actions(1) == [("view.saved", "done", "last night")]
    client.post(VIEWS, {"name": "last night", "query": "since=7d"})
    assert SavedView.objects.get().query == "since=7d"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "", "query": "since=1h"}, "Give it a name."),
        ({"name": "x" * 81, "query": "since=1h"}, "at most 80"),
        ({"name": "x", "query": ""}, "Narrow the list first"),
        ({"name": "x", "query": "show=jobs"}, "Narrow the list first"),
        ({"name": "x", "query": "since=soonish"}, "expected a time"),
        ({"name": "x", "query": "since=1h", "team": "elsewhere"}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_saved_is_said(cast: Cast, payments: Pool, fields: dict[str, str], said: str) -> None:
    response = signed_in(cast.bob).post(VIEWS, fields)
    assert response.status_code == 422 and said in text(response.content)
    assert not SavedView.objects.exists() and not Event.objects.exists()


def test_a_shared_view_is_seen_by_the_team_and_changed_by_nobody_else(cast: Cast, payments: Pool, hidden: Pool) -> None:
    view = saved(cast.bob, team=cast.payments)
    assert "late" in names(cast.vera) and "late" not in names(cast.charlie)
    page = text(signed_in(cast.vera).get(VIEWS).content)
    assert "Shared with Payments by bob" in page and "Rename" not in page
    for person in (cast.vera, cast.charlie, cast.ada):
        assert post(signed_in(person), view, "rename", name="mine").status_code == 404
        assert post(signed_in(person), view, "remove").status_code == 404
    assert SavedView.objects.get().name == "late"


def test_another_s_own_view_is_invisible(cast: Cast, payments: Pool) -> None:
    view = saved(cast.bob)
    assert "late" not in names(cast.alice)
    assert post(signed_in(cast.alice), view, "default", default="1").status_code == 404
    assert not DefaultView.objects.exists()


def test_sharing_needs_the_right_to_act(cast: Cast, payments: Pool) -> None:
    assert (
        "payments"
        not in signed_in(cast.vera)
        .get(VIEWS, {"since": "1h"})
        .content.decode()
        .split("<select")[1]
        .split("</select>")[0]
    )
    response = signed_in(cast.vera).post(VIEWS, {"name": "x", "query": "since=1h", "team": "payments"})
    assert response.status_code == 422 and not SavedView.objects.exists()
    assert signed_in(cast.vera).post(VIEWS, {"name": "x", "query": "since=1h"}).status_code == 302


def test_whoever_sees_no_pool_keeps_no_view(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.charlie).post(VIEWS, {"name": "x", "query": "since=1h"})
    assert response.status_code == 403 and not SavedView.objects.exists()
    assert Event.objects.latest("pk").outcome == "denied"


def test_renaming_and_removing(cast: Cast, payments: Pool) -> None:
    client, view = signed_in(cast.bob), saved(cast.bob)
    saved(cast.bob, "other")
    assert post(client, view, "rename", name="later").status_code == 302
    assert "later" in names(cast.bob) and "late" not in names(cast.bob)
    taken = post(client, view, "rename", name="other")
    assert taken.status_code == 422 and "You have a view other already" in text(taken.content)
    before = Event.objects.count()
    assert post(client, view, "rename", name="later").status_code == 302
    assert Event.objects.count() == before
    assert post(client, view, "remove").status_code == 302
    assert "later" not in names(cast.bob) and recent_actions(1) == [("view.removed", "done", "later")]
    assert post(client, view, "remove").status_code == 404
    assert client.get(f"{VIEWS}{view.pk}/remove/").status_code == 405


def test_the_bare_inbox_begins_with_the_chosen_view(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    client, view = signed_in(cast.vera), saved(cast.bob, team=cast.payments)
    assert client.get(URL).status_code == 200
    assert post(client, view, "default", default="1").status_code == 302
    assert recent_actions(1) == [("view.default_set", "done", "late")]
    response = client.get(URL)
    assert (response.status_code, response["Location"]) == (302, f"{URL}?until=24h")
    assert client.get(URL, {"show": "groups"}).status_code == 200  # where "All" leads
    assert signed_in(cast.bob).get(URL).status_code == 200
    SavedView.objects.update(team=None)
    assert client.get(URL).status_code == 200  # no longer shared
    SavedView.objects.update(team=cast.payments)
    post(client, view, "default")
    assert client.get(URL).status_code == 200 and not DefaultView.objects.exists()


def test_a_view_that_can_no_longer_be_read_harms_nobody(cast: Cast, payments: Pool) -> None:
    view = saved(cast.bob)
    client = signed_in(cast.bob)
    post(client, view, "default", default="1")
    SavedView.objects.update(query="since=soonish", name=HOSTILE[:80])
    assert client.get(URL).status_code == 200
    page = client.get(VIEWS).content.decode()
    assert "can no longer be read" in text(page.encode()) and "<script>alert" not in page


def test_nobody_saves_views_without_end(cast: Cast, payments: Pool) -> None:
    owner = str(cast.bob.pk)
    SavedView.objects.bulk_create(SavedView(owner_id=owner, name=str(n), query="q=x") for n in range(SAVED_EACH))
    full = signed_in(cast.bob).post(VIEWS, {"name": "one more", "query": "since=1h"})
    assert full.status_code == 422 and "delete one first" in text(full.content)
    assert signed_in(cast.bob).post(VIEWS, {"name": "7", "query": "since=1h"}).status_code == 302
