from typing import Any

import pytest
from django.test import Client

from audit.actor import Actor
from audit.models import Event, Leaf
from audit.target import Target
from tests.audit.cast import happened, logged

pytestmark = pytest.mark.django_db

PAGES = ["/audit/", "/audit/events/0/"]
HOSTILE = "<script>alert(1)</script>'\"><b>&lt;"


@pytest.fixture
def reader(client: Client, auditor: Any) -> Client:
    client.force_login(auditor)
    return client


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_asked_to_sign_in(client: Client, path: str) -> None:
    logged()
    response = client.get(path)
    assert response.status_code == 302 and response["Location"].startswith("/sign-in/?next=/audit/")


@pytest.mark.parametrize("path", [*PAGES, "/audit/events/99/"])
def test_an_outsider_learns_what_is_missing_and_who_can_grant_it(
    client: Client, outsider: Any, admin: Any, path: str
) -> None:
    logged(reason="a secret reason")
    client.force_login(outsider)
    response = client.get(path)
    content = response.content.decode()
    assert response.status_code == 403
    assert "audit.view_event" in content and "mara can grant it" in content and "a secret reason" not in content


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_pages_only_read(reader: Client, path: str, method: str) -> None:
    logged()
    assert getattr(reader, method)(path).status_code == 405
    assert Event.objects.count() == Leaf.objects.count() == 1


@pytest.mark.parametrize("path", [*PAGES, "/audit/?cursor=1", "/audit/?actor=Ana+Ruiz&outcome=done&q=month"])
def test_looking_leaves_no_trace(reader: Client, path: str) -> None:
    logged()
    assert reader.get(path).status_code == 200
    assert Event.objects.count() == 1


def test_an_empty_log_says_so(reader: Client) -> None:
    content = reader.get("/audit/").content.decode()
    assert "Nothing has happened yet" in content and "The log is empty" in content


def test_the_timeline_tells_what_happened(reader: Client) -> None:
    logged()
    logged(action="pool.scaled", outcome="denied", after={"workers": 56}, detail={"permission": "pools.scale_pool"})
    content = reader.get("/audit/").content.decode()
    assert "<strong>Ana Ruiz</strong> paused payments" in content and "0 · payments · “month-end freeze”" in content
    assert "<strong>Ana Ruiz</strong> was refused: scale payments" in content
    assert "lacks pools.scale_pool" in content
    assert "2 events, the newest" in content and 'href="/audit/events/1/"' in content


def test_a_pending_event_is_on_top_and_marked(reader: Client) -> None:
    logged(reason="settled")
    happened(reason="just now")
    content = reader.get("/audit/").content.decode()
    assert content.index("Waiting for their place in the log") < content.index("just now") < content.index("settled")
    assert "1 waiting for their place" in content and "Pending" in content
    assert "just now" not in reader.get("/audit/?cursor=1").content.decode()


def test_filters_live_in_the_address_and_links_keep_them(reader: Client) -> None:
    logged()
    logged(actor=Actor(kind="user", id="8", name="Bob"), target=Target("pool", "12", "media", pool="media"))
    content = reader.get("/audit/?actor=Bob&pool=media").content.decode()
    assert "paused media" in content and "paused payments" not in content
    assert 'href="/audit/events/1/?actor=Bob&amp;pool=media"' in content
    assert 'value="Bob"' in content and 'value="media"' in content

    event = reader.get("/audit/events/1/?actor=Bob&pool=media").content.decode()
    assert "paused media" in event and "paused payments" not in event
    assert 'href="/audit/?actor=Bob&amp;pool=media#filter"' in event


def test_a_filter_that_hides_everything_offers_the_way_back(reader: Client) -> None:
    logged()
    content = reader.get("/audit/?pool=media").content.decode()
    assert "No events match" in content and "Clear the filter" in content


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday",
        "since=0001-01-01T00:00:00%2B14:00",
        "until=9999-12-31T23:59:59-14:00",
        "outcome=perhaps",
        "action=pool.painted",
        "cursor=x",
        "cursor=-1",
        "cursor=" + "9" * 30,
        "q=a%00b",
        "actor=" + "x" * 501,
    ],
)
def test_a_filter_that_cannot_be_read_shows_no_event(reader: Client, query: str) -> None:
    logged()
    response = reader.get(f"/audit/?{query}")
    content = response.content.decode()
    assert response.status_code == 400 and "paused payments" not in content and "No events match" in content
    assert reader.get(f"/audit/events/0/?{query}").status_code == 200


def test_pages_follow_each_other_without_overlap(reader: Client) -> None:
    for _ in range(60):
        happened()
    logged()
    first = reader.get("/audit/?actor=Ana+Ruiz")
    content = first.content.decode()
    assert 'href="?actor=Ana+Ruiz&amp;cursor=11"' in content and 'href="/audit/events/11/?' in content
    second = reader.get("/audit/?actor=Ana+Ruiz&cursor=11").content.decode()
    assert 'href="/audit/events/11/?' not in second and 'href="/audit/events/10/?' in second
    assert 'href="/audit/events/0/?' in second and "Next page" not in second


def test_an_event_page_tells_who_did_what_to_what_why_and_from_where(reader: Client) -> None:
    event = logged(before={"workers": 4}, after={"workers": 56}, detail={"exit_code": 3}, outcome="intent")
    content = reader.get("/audit/events/0/").content.decode()
    for expected in (
        "Ana Ruiz set out to pause payments",
        "<code>pool.paused</code>",
        "“month-end freeze”",
        "10.8.4.21, session 5c1e0a9b",
        "a1b2",
        '<th scope="row">workers</th><td>4</td><td>56</td><td><b>+52</b></td>',
        "<dt>Exit code</dt><dd>3</dd>",
        bytes(event.placed.hash).hex(),
        "Intent",
        'aria-current="true"',
    ):
        assert expected in content
    assert "From the same request" not in content


def test_the_leaf_can_be_copied_byte_for_byte(reader: Client) -> None:
    event = logged(reason='"quoted" <and> ünusual')
    response = reader.get("/audit/events/0/")
    assert response.context["leaf"].encode() == bytes(event.leaf)
    assert "&quot;reason&quot;:&quot;\\&quot;quoted\\&quot; &lt;and&gt; ünusual&quot;" in response.content.decode()


def test_events_of_one_request_stand_together(reader: Client) -> None:
    logged(outcome="intent")
    logged(action="pool.scaled", after={"workers": 7})
    content = reader.get("/audit/events/1/").content.decode()
    own = content.split("From the same request")[1].split("</section>")[0]
    assert "set out to pause payments" in own and "scaled" not in own


@pytest.mark.parametrize("index", ["1", str(2**63), "9" * 40])
def test_an_index_beyond_the_log_is_not_found(reader: Client, index: str) -> None:
    logged()
    assert reader.get(f"/audit/events/{index}/").status_code == 404


def test_hostile_text_is_only_text(reader: Client) -> None:
    logged(
        actor=Actor(kind="user", id=HOSTILE, name=HOSTILE, request_id=HOSTILE, address=HOSTILE, session=HOSTILE),
        target=Target(HOSTILE, HOSTILE, HOSTILE, pool=HOSTILE),
        reason=HOSTILE,
        before={HOSTILE: HOSTILE},
        after={HOSTILE: [HOSTILE]},
        detail={HOSTILE: HOSTILE, "permission": HOSTILE},
    )
    happened(reason=HOSTILE)
    for page in (*PAGES, "/audit/?q=%3Cscript%3Ealert(1)%3C/script%3E"):
        content = reader.get(page).content.decode()
        assert "alert(1)" in content
        assert "<script>alert" not in content and "'\"><b>" not in content
