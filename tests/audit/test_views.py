from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from audit import conditions, selectors
from audit.actor import Actor
from audit.models import CheckpointRequest, Event, Export, Leaf, Personal, SavedFilter
from audit.sequencer import Sequencer
from audit.target import Target
from tests.audit.cast import happened, logged
from tests.audit.signing import checkpointed
from tests.audit.tampering import tamper
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db

PAGES = ["/audit/", "/audit/events/0/"]
OTHERS = ["/audit/exports/", "/audit/exports/new/", "/audit/exports/new/?pool=media", "/audit/events/0/erase/"]
HOSTILE = "<script>alert(1)</script>'\"><b>&lt;"


@pytest.fixture
def reader(client: Client, auditor: Any) -> Client:
    client.force_login(auditor)
    return client


@pytest.mark.parametrize("path", [*PAGES, *OTHERS])
def test_a_stranger_is_asked_to_sign_in(client: Client, path: str) -> None:
    logged()
    response = client.get(path)
    assert response.status_code == 302 and response["Location"].startswith("/sign-in/?next=/audit/")


@pytest.mark.parametrize("path", [*PAGES, *OTHERS, "/audit/events/99/"])
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


@pytest.mark.parametrize("path", [*PAGES, *OTHERS, "/audit/?cursor=1", "/audit/?actor=Ana+Ruiz&outcome=done&q=month"])
def test_looking_leaves_no_trace(reader: Client, path: str) -> None:
    logged()
    assert reader.get(path).status_code == 200
    assert Event.objects.count() == 1


def test_an_empty_log_says_so(reader: Client) -> None:
    content = reader.get("/audit/").content.decode()
    assert "Nothing has happened yet" in content and "The log is empty" in content
    assert "No checkpoint is signed yet" in content


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
        '<code data-leaf="action">pool.paused</code>',
        "“month-end freeze”",
        "<dt>Address</dt>\n    <dd>10.8.4.21</dd>",
        "<dt>Session</dt>\n    <dd>5c1e0a9b</dd>",
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


def test_an_event_waits_for_its_checkpoint_and_then_shows_its_proof(reader: Client) -> None:
    logged()
    logged(reason="another")
    waiting = reader.get("/audit/events/0/").content.decode()
    assert "Not under a checkpoint yet" in waiting and 'id="proof"' in waiting and "proof-verify" not in waiting

    row = checkpointed(witness=True)
    shown = reader.get("/audit/events/0/")
    content = shown.content.decode()
    proof = shown.context["proof"]
    assert f"<code>{proof.root_hex}</code>" in content and proof.root_hex == bytes(row.root).hex()
    assert content.count('<span class="pw-dim">right</span>') == 1 and proof.path[0][1].hex() in content
    assert "Verify in this browser" in content and "Not checked in this browser yet" in content
    assert "witness.example" in content and "\n\n— poolwarden/test " in content and "\n— witness.example " in content
    assert "Sketch" not in content and "All 1 step" in content


def test_the_badge_says_what_is_signed_and_what_is_not_well(reader: Client) -> None:
    logged()
    checkpointed(witness=True)
    logged()
    conditions.report(conditions.SIGNING, good=False, detail="The log has fewer events than were signed.")
    for page in PAGES:
        content = reader.get(page).content.decode()
        assert "Checkpoint over <strong>1</strong> event," in content and "cosigned by witness.example" in content
        assert "1 newer event without one" in content
        assert "No checkpoint is being signed." in content and "fewer events than were signed" in content


def test_a_log_that_lost_a_leaf_says_so_instead_of_a_proof(reader: Client) -> None:
    for _ in range(3):
        logged()
    checkpointed()
    tamper('DELETE FROM audit_leaf WHERE "index" = 1')
    content = reader.get("/audit/events/0/").content.decode()
    assert "The log cannot prove this event." in content and "proof-verify" not in content


def test_columns_that_differ_from_the_leaf_are_shouted_out(reader: Client) -> None:
    logged(reason="the truth")
    tamper("UPDATE audit_event SET reason = 'a lie', actor_name = 'Mallory'")
    assert "Altered in the database" in reader.get("/audit/").content.decode()
    content = reader.get("/audit/events/0/").content.decode()
    assert "The database was altered." in content and "actor, reason" in content and "the truth" in content


def test_a_personal_value_that_was_changed_is_marked(reader: Client) -> None:
    logged()
    tamper("UPDATE audit_personal SET value = '192.0.2.1' WHERE field = 'address'")
    content = reader.get("/audit/events/0/").content.decode()
    assert "192.0.2.1" in content and content.count("Not what was written") == 1


def test_text_is_looked_for_in_what_changed_as_well(reader: Client) -> None:
    logged(after={"workers": 56, "note": "größer"})
    logged(detail={"gateway": "eu2"})
    logged(before={"path": 'a "quoted" \\ thing'})
    for query, index in (("größer", 0), ("EU2", 1), ('"quoted" \\', 2)):
        content = reader.get("/audit/", {"q": query}).content.decode()
        assert [f"/audit/events/{n}/" in content for n in range(3)] == [n == index for n in range(3)], query


def test_a_search_for_text_goes_back_step_by_step(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "TEXT_SEARCHED", 10)
    logged(reason="needle")
    for _ in range(25):
        happened()
    Sequencer().tick()
    for cursor, found in (("", False), ("&cursor=16", False), ("&cursor=6", True)):
        content = reader.get(f"/audit/?q=needle{cursor}").content.decode()
        assert ("/audit/events/0/" in content) is found
        assert ("Text was looked for back to event" in content) is not found


def test_an_auditor_asks_for_a_checkpoint(reader: Client, outsider: Any) -> None:
    assert reader.post("/audit/checkpoint/", {"next": "/audit/events/0/"})["Location"] == "/audit/events/0/"
    assert CheckpointRequest.objects.count() == 1
    assert recent_actions(1) == [("audit.checkpoint_requested", "done", "audit log")]

    reader.force_login(outsider)
    assert reader.post("/audit/checkpoint/").status_code == 403
    assert CheckpointRequest.objects.count() == 1
    assert recent_actions(1) == [("audit.checkpoint_requested", "denied", "audit log")]


def test_saving_and_deleting_a_filter(reader: Client, admin: Any) -> None:
    logged()
    saved = reader.post("/audit/filters/", {"name": "Mine & yours", "query": "?pool=payments&cursor=7&x=1"})
    assert saved["Location"] == "/audit/?pool=payments"
    content = reader.get("/audit/").content.decode()
    assert '<a href="/audit/?pool=payments">Mine &amp; yours</a>' in content
    assert recent_actions(1) == [("audit.filter_saved", "done", "Mine & yours")]

    row = SavedFilter.objects.get()
    other = Client()
    admin.user_permissions.add(Permission.objects.get(codename="view_event"))
    other.force_login(admin)
    assert 'href="/audit/?pool=payments"' not in other.get("/audit/").content.decode()
    assert other.post(f"/audit/filters/{row.pk}/delete/").status_code == 404

    assert reader.post(f"/audit/filters/{row.pk}/delete/").status_code == 302
    assert not SavedFilter.objects.exists()
    assert recent_actions(1) == [("audit.filter_removed", "done", "Mine & yours")]


@pytest.mark.parametrize(
    ("name", "query", "says"),
    [
        ("", "?pool=payments", "This field is required"),
        ("All", "", "Narrow the timeline first"),
        ("All", "?since=yesterday", "Narrow the timeline first"),
        ("x" * 81, "?pool=payments", "at most 80 characters"),
    ],
)
def test_a_filter_that_cannot_be_saved(reader: Client, name: str, query: str, says: str) -> None:
    response = reader.post("/audit/filters/", {"name": name, "query": query})
    assert response.status_code in (400, 422) and says in response.content.decode()
    assert not SavedFilter.objects.exists() and not Event.objects.exists()


def test_asking_for_an_export_of_what_the_timeline_shows(reader: Client) -> None:
    logged()
    assert 'href="/audit/exports/new/?pool=payments"' in reader.get("/audit/?pool=payments").content.decode()
    form = reader.get("/audit/exports/new/?pool=payments").content.decode()
    assert "<dt>Pool</dt><dd>payments</dd>" in form and 'action="/audit/exports/new/?pool=payments"' in form
    answer = reader.post("/audit/exports/new/?pool=payments", {"kind": "csv", "reason": "the yearly audit"})
    assert answer["Location"] == "/audit/exports/"
    export = Export.objects.get()
    assert (export.kind, export.filters, export.reason) == ("csv", {"pool": "payments"}, "the yearly audit")
    assert recent_actions(1) == [("audit.export_requested", "intent", f"export {export.pk}")]
    content = reader.get("/audit/exports/").content.decode()
    assert "pool payments" in content and "the yearly audit" in content and "Waiting" in content


@pytest.mark.parametrize(
    ("query", "fields", "says"),
    [
        ("", {"kind": "csv"}, "Say why"),
        ("", {"kind": "exe", "reason": "x"}, "Select a valid choice"),
        ("", {"kind": "csv", "reason": "a\x00b"}, "Null characters are not allowed"),
        ("?since=yesterday", {"kind": "csv", "reason": "x"}, "The filter cannot be read"),
    ],
)
def test_an_export_that_cannot_be(reader: Client, query: str, fields: dict[str, str], says: str) -> None:
    answer = reader.post(f"/audit/exports/new/{query}", fields)
    assert answer.status_code in (400, 422) and says in answer.content.decode()
    assert not Export.objects.exists() and not Event.objects.exists()


@pytest.mark.parametrize(
    "path", ["/audit/exports/new/", "/audit/filters/", "/audit/filters/1/delete/", "/audit/events/0/erase/"]
)
def test_an_outsiders_attempt_is_refused_and_recorded(client: Client, outsider: Any, path: str) -> None:
    logged()
    client.force_login(outsider)
    assert client.post(path, {"reason": "let me"}).status_code == 403
    ((action, outcome, target),) = recent_actions(1)
    assert action.startswith("audit.") and outcome == "denied" and target == "audit log"
    assert (
        not Export.objects.exists()
        and not SavedFilter.objects.exists()
        and Personal.objects.filter(event__placed__index=0).count() == 2
    )


def test_whoever_may_only_look_cannot_erase(reader: Client, admin: Any) -> None:
    logged()
    assert "/audit/events/0/erase/" not in reader.get("/audit/events/0/").content.decode()
    assert "audit.erase_personal" in reader.get("/audit/events/0/erase/").content.decode()
    answer = reader.post("/audit/events/0/erase/", {"reason": "why not"})
    assert answer.status_code == 403 and Personal.objects.filter(event__placed__index=0).count() == 2
    assert recent_actions(1) == [("audit.personal_erased", "denied", "audit log")]


def test_erasing_the_personal_values_of_an_event(reader: Client, auditor: Any) -> None:
    logged()
    logged(reason="another")
    auditor.user_permissions.add(Permission.objects.get(codename="erase_personal"))
    assert 'href="/audit/events/0/erase/"' in reader.get("/audit/events/0/").content.decode()
    form = reader.get("/audit/events/0/erase/").content.decode()
    assert "10.8.4.21" in form and "in 2 events" in form
    answer = reader.post("/audit/events/0/erase/", {"reason": "She asked for it"})
    assert answer["Location"] == "/audit/events/0/"
    content = reader.get("/audit/events/0/").content.decode()
    assert "10.8.4.21" not in content and content.count(" erased</span>") == 2
    assert "10.8.4.21" in reader.get("/audit/events/1/").content.decode()
    assert recent_actions(1) == [("audit.personal_erased", "done", "event 0")]
    assert "Nothing is left to erase" in reader.get("/audit/events/0/erase/").content.decode()
