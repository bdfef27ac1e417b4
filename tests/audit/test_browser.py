"""An auditor checks a proof in a real browser, and whoever served the page cannot fool it."""

import base64
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.test import Client
from playwright.sync_api import Browser, Page, expect

from audit import conditions, merkle
from audit.checkpoint import Checkpoint, SignerKey, sign_note
from audit.models import Event
from audit.sequencer import Sequencer
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.audit.cast import happened
from tests.audit.signing import KEY, WITNESS, checkpointed
from tests.support.flush import allow_flush

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("audit-browser")]
# Playwright's loop runs in this process, where tests also make rows; the two never touch a connection at once.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")

INDEX = 11
EVENT = f"/audit/events/{INDEX}/"
MALLORY = SignerKey(KEY.name, WITNESS.private)


@pytest.fixture
def auditor(transactional_db: None, django_user_model: Any) -> Iterator[Any]:
    person = django_user_model.objects.create_user("ilse")
    person.user_permissions.add(*Permission.objects.filter(codename__in=("view_event", "erase_personal")))
    yield person
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


@pytest.fixture
def log(auditor: Any, settings: Any, tmp_path: Any) -> None:
    """21 events under a cosigned checkpoint, two more without one; the console knows both keys."""
    settings.POOLWARDEN_HOME, settings.POOLWARDEN_WITNESSES = tmp_path, [f"https://w.example|{WITNESS.verifier}"]
    (tmp_path / "log.vkey").write_text(f"{KEY.verifier}\n")
    for number in range(21):
        recorded(reason=f"reason {number}\r\nin two lines — “ünusual” & <b>", after={"workers": number})
    Sequencer().tick()
    checkpointed(size=9)
    checkpointed(witness=True)
    recorded(outcome="denied", detail={"permission": "pools.control_pool"})
    recorded(reason="not signed yet")
    Sequencer().tick()
    for name in (conditions.SIGNING, conditions.of_anchor("file /srv/anchors"), conditions.of_witness(WITNESS.name)):
        conditions.report(name, good=True, size=21)


@transaction.atomic
def recorded(**fields: Any) -> None:
    happened(**fields)


@pytest.fixture
def page(browser: Browser, live_server: Any, log: None, auditor: Any) -> Iterator[Page]:
    complaints: list[str] = []
    client = Client()
    client.force_login(auditor)
    context = browser.new_context(base_url=live_server.url, viewport={"width": 1440, "height": 900})
    session = client.cookies["session"].value
    context.add_cookies([{"name": "session", "value": session, "url": live_server.url}])
    made = context.new_page()
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield made
    context.close()
    assert complaints == []


def verify(page: Page) -> str:
    page.get_by_role("button", name=re.compile("^Verify")).click()
    expect(page.get_by_role("button", name="Verify again in this browser")).to_be_enabled()
    return page.locator("#proof-verdict").inner_text()


def steps(page: Page) -> list[str]:
    return page.locator("#proof-steps li").all_inner_texts()


def served_otherwise(page: Page, change: Callable[[str], str]) -> None:
    """Whoever serves the page alters it on the way."""

    def answer(route: Any) -> None:
        response = route.fetch()
        changed = change(response.text())
        assert changed != response.text()
        route.fulfill(response=response, body=changed)

    page.route(f"**{EVENT}", answer)
    page.goto(EVENT)


def test_an_event_is_verified(page: Page) -> None:
    page.goto(EVENT)
    assert verify(page) == "Verified in this browser"
    told = steps(page)
    assert told[1].startswith("The leaf says: Ana Ruiz (user), pool.paused, done, pool payments, 20")
    assert len(told) == 5 and "leaf 11" in told[0] and "sibling hashes lead" in told[2] and "tree of 21" in told[2]
    assert told[3] == f"The log key {KEY.name}+{KEY.verifier.key_id.hex()} signed that root."
    assert told[4].startswith(f"The witness {WITNESS.name}+{WITNESS.verifier.key_id.hex()} cosigned it, as of 2027-")


def test_every_event_under_the_checkpoint_verifies(page: Page) -> None:
    for index in range(21):
        page.goto(f"/audit/events/{index}/")
        assert verify(page) == "Verified in this browser", steps(page)


def other_hash(page: str) -> str:
    """One hexadecimal digit of the path is another."""
    place = re.search(r'id="proof-path".*?<code>([0-9a-f])', page, re.DOTALL)
    assert place
    at = place.start(1)
    return page[:at] + ("0" if page[at] != "0" else "1") + page[at + 1 :]


def without_last_hash(page: str) -> str:
    return re.sub(r'(id="proof-path".*)<li>.*?</li></ol>', r"\1</ol>", page, count=1, flags=re.DOTALL)


def forged_leaf(page: str) -> str:
    """Another reason in the leaf, and everywhere else on the page."""
    return page.replace(f"reason {INDEX}", "reason 0")


def forged_leaf_and_hash(page: str) -> str:
    leaf = bytes(Event.objects.get(placed__index=INDEX).leaf)
    forged = leaf.replace(f"reason {INDEX}".encode(), b"reason 0")
    return forged_leaf(page).replace(merkle.leaf_hash(leaf).hex(), merkle.leaf_hash(forged).hex())


def forged_facts(page: str) -> str:
    return page.replace(">Ana Ruiz</a>, <span", ">Bob</a>, <span")


def other_place(page: str) -> str:
    return page.replace(f'data-index="{INDEX}"', 'data-index="10"')


def signed_by_another(page: str) -> str:
    """Mallory's own note over another root, under the log's name; and no witness."""
    note = sign_note(Checkpoint(KEY.name, 21, b"\1" * 32).text, [MALLORY]).decode()
    return re.sub(r'(id="proof-note"[^>]*>).*?(</pre>)', lambda m: m[1] + note + m[2], page, flags=re.DOTALL)


def other_signature(page: str) -> str:
    """One bit of the log's signature is another."""
    line = re.search(rf"— {re.escape(KEY.name)} (\S+)", page)
    assert line
    raw = bytearray(base64.b64decode(line[1]))
    raw[-1] ^= 1
    return page.replace(line[1], base64.b64encode(raw).decode())


FORGERIES: dict[Callable[[str], str], str] = {
    other_hash: "The path leads to the root",
    without_last_hash: "The path is too short",
    forged_leaf: "The bytes of this event hash to",
    forged_leaf_and_hash: "The path leads to the root",
    forged_facts: "The page says “Bob” (actor.name), and the leaf says “Ana Ruiz”",
    other_place: "The path leads to the root",
    signed_by_another: "The path leads to the root",
    other_signature: "does not verify: that key did not sign this checkpoint",
}


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_a_page_that_was_tampered_with_does_not_verify(page: Page, forgery: Callable[[str], str]) -> None:
    served_otherwise(page, forgery)
    assert verify(page) == "Does not verify"
    assert FORGERIES[forgery] in steps(page)[-1]


def test_a_whole_log_of_mallorys_is_found_by_the_readers_own_key(page: Page) -> None:
    """He forges the leaf, the path, the checkpoint and the key on the page: only a key from elsewhere shows it."""

    def forge(text: str) -> str:
        leaf = bytes(Event.objects.get(placed__index=INDEX).leaf)
        forged = merkle.leaf_hash(leaf.replace(f"reason {INDEX}".encode(), b"reason 0"))
        text = forged_leaf(text).replace(merkle.leaf_hash(leaf).hex(), forged.hex())
        path = [bytes.fromhex(found) for found in re.findall(r"<code>([0-9a-f]{64})</code></li>", text)]
        root = forged
        for number, sibling in enumerate(path):
            left = re.findall(r'<li><span class="pw-dim">(\w+)<', text)[number] == "left"
            root = merkle.node_hash(sibling, root) if left else merkle.node_hash(root, sibling)
        note = sign_note(Checkpoint(KEY.name, 21, root).text, [MALLORY]).decode()
        text = re.sub(r'(id="proof-note"[^>]*>).*?(</pre>)', lambda m: m[1] + note + m[2], text, flags=re.DOTALL)
        return text.replace(str(KEY.verifier).replace("+", "&#43;"), str(MALLORY.verifier)).replace(
            str(KEY.verifier), str(MALLORY.verifier)
        )

    served_otherwise(page, forge)
    assert verify(page) == "Verified in this browser"
    page.get_by_label("Keys that you trust").fill(str(KEY.verifier))
    assert verify(page) == "Does not verify"
    assert "None of your keys signed the checkpoint" in steps(page)[-1]


def test_a_key_of_the_readers_own_is_remembered(page: Page) -> None:
    page.goto(EVENT)
    page.get_by_label("Keys that you trust").fill(str(KEY.verifier))
    assert verify(page) == "Verified in this browser"
    assert steps(page)[-1].startswith(f"Not checked: the signature of {WITNESS.name}+")
    page.goto("/audit/events/3/")
    expect(page.get_by_label("Keys that you trust")).to_have_value(str(KEY.verifier))


def test_both_keys_are_checked_while_the_logs_key_changes(page: Page) -> None:
    def both(text: str) -> str:
        note = re.search(r'id="proof-note"[^>]*>(.*?\n)\n', text, re.DOTALL)
        assert note
        return text.replace(f"{note[1]}\n", f"{note[1]}\n{MALLORY.line(note[1])}")

    served_otherwise(page, both)
    page.get_by_label("Keys that you trust").fill(f"{KEY.verifier}\n{MALLORY.verifier}")
    assert verify(page) == "Verified in this browser"
    signed = [step for step in steps(page) if step.startswith("The log key")]
    assert len(signed) == 2 and MALLORY.verifier.key_id.hex() in signed[0] and KEY.verifier.key_id.hex() in signed[1]


@pytest.mark.parametrize(
    ("keys", "verdict", "says"),
    [
        ("", "Checked only in part", "Not checked: who signed the checkpoint"),
        ("not a key", "Does not verify", "This is not a verifier key: not a key"),
        (str(KEY.verifier).replace("+", "+0", 1)[:-1], "Does not verify", "This is not a verifier key"),
        (str(MALLORY.verifier), "Does not verify", "None of your keys signed"),
    ],
)
def test_keys_that_do_not_help(page: Page, keys: str, verdict: str, says: str) -> None:
    page.goto(EVENT)
    page.get_by_label("Keys that you trust").fill(keys)
    assert verify(page) == verdict
    assert says in steps(page)[-1]


def test_a_browser_without_ed25519_says_what_was_checked(page: Page) -> None:
    page.add_init_script("crypto.subtle.importKey = () => Promise.reject(new DOMException('', 'NotSupportedError'))")
    page.goto(EVENT)
    assert verify(page) == "Checked only in part"
    told = steps(page)
    assert "sibling hashes lead" in told[2] and "This browser has no Ed25519; what stands above was checked" in told[3]


def test_a_page_without_webcrypto_claims_nothing(page: Page) -> None:
    page.add_init_script("Object.defineProperty(Crypto.prototype, 'subtle', {value: undefined})")
    page.goto(EVENT)
    assert verify(page) == "Checked only in part"
    assert steps(page) == ["Nothing was checked: browsers give a page the means for it (WebCrypto) over HTTPS only."]


def test_the_panel_shows_the_proof_as_soon_as_there_is_one(page: Page) -> None:
    page.goto("/audit/events/22/")
    expect(page.get_by_text("Not under a checkpoint yet")).to_be_visible()
    checkpointed(witness=True)
    expect(page.get_by_role("button", name="Verify in this browser")).to_be_visible(timeout=15_000)
    assert verify(page) == "Verified in this browser"
    page.evaluate("htmx.trigger('#pw-live', 'pw:refresh')")
    page.wait_for_function(
        "() => new Promise((done) => document.addEventListener('pw:live', () => done(true), {once: true}))"
    )
    expect(page.locator("#proof-verdict")).to_have_text("Verified in this browser")


def test_axe_finds_nothing_and_nothing_is_cut_off(page: Page) -> None:
    conditions.report(conditions.PROTECTION, good=False, detail="The application owns the log's tables.")
    page.emulate_media(reduced_motion="reduce")
    with findings_of(page) as findings:
        for path in (
            "/audit/",
            "/audit/?pool=payments",
            EVENT,
            "/audit/events/22/",
            f"{EVENT}erase/",
            "/audit/exports/",
            "/audit/exports/new/?pool=payments",
        ):
            page.goto(path)
            if path == EVENT:
                verify(page)
            inspect(page, findings)
