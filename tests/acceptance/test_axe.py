"""Every page, in every state that a person meets, in both themes and at both widths: axe finds nothing."""

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.look import findings_of, inspect
from tests.acceptance.steps import People, a_group, a_job, post

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

MOST_PAGES = 40


def kind_of(path: str) -> str:
    """``/pools/stdlib-parse/config/3/`` and ``/pools/stdlib-compress/config/1/`` are one kind of page."""
    path = re.sub(r"^/pools/(?!new/)[^/]+/", "/pools/_/", path)
    path = re.sub(r"^/jobs/[^/]+/", "/jobs/_/", path)
    path = re.sub(r"^/payloads/.*/reveal/", "/payloads/_/reveal/", path)
    path = re.sub(r"^/secrets/(?!new/)[^/]+/", "/secrets/_/", path)
    path = re.sub(r"^/notifications/(?!new/)[^/]+/", "/notifications/_/", path)
    return re.sub(r"/\d+/", "/_/", path)


def links(page: Page) -> list[str]:
    """Paths of the links to pages of the same host; what a filter adds is another state of the same page."""
    found: list[str] = page.locator("a[href]:not([download])").evaluate_all(
        "all => all.filter(a => a.host === location.host).map(a => a.pathname)"
    )
    return found


def test_every_page_that_an_administrator_reaches(people: People) -> None:
    page = people("admin", reduced_motion="reduce")
    furnish(page)
    waiting, seen = ["/"], {"/": "/"}
    with findings_of(page) as findings:
        while waiting:
            path = waiting.pop(0)
            findings.where = path
            answer = page.goto(path)
            assert answer is not None
            if answer.status != 200 or not page.locator("h1").count():
                findings.add(f"status {answer.status}, {page.locator('h1').count()} h1")
            inspect(page, findings)
            for link in links(page):
                if kind_of(link) not in seen and len(seen) < MOST_PAGES:
                    seen[kind_of(link)] = link
                    waiting.append(link)
    assert seen.keys() >= {
        "/pools/",
        "/pools/_/",
        "/pools/_/config/",
        "/pools/_/config/_/",
        "/dead-letters/",
        "/dead-letters/groups/_/",
        "/jobs/_/",
        "/payloads/_/reveal/",
        "/operations/",
        "/operations/_/",
        "/agents/",
        "/notifications/",
        "/secrets/",
        "/access/",
        "/audit/",
        "/audit/events/_/",
        "/audit/exports/",
        "/audit/exports/new/",
    }


def furnish(page: Page) -> None:
    """What a new installation lacks: a registered secret, an older version, an operation."""
    post(page, "/secrets/new/", name="furnished", uri="env://POOLWARDEN_SECRET_FURNISHED", team="demo", description="")
    group = a_group(page, "stdlib-parse")
    page.goto(group)
    letter = page.locator("input[name=id]").first.input_value()
    post(page, "/dead-letters/requeue/", id=letter, reason="One operation for the list", expected_count="1")
    post(page, "/pools/stdlib-compress/scale/", workers="1", reason="A second version", expected_version="")


STATES = (
    "/?show=critical",
    "/pools/?q=none-of-that-name",
    "/pools/stdlib-parse/?workers=gone&span=7d",
    "/pools/stdlib-parse/config/?as=yaml",
    "/pools/console/",
    "/dead-letters/?show=jobs",
    "/dead-letters/?q=nothing-says-this",
    "/dead-letters/?since=soonish",
    "/jobs/nobody-knows-it/",
    "/agents/?show=gone",
    "/audit/?q=nothing-says-this",
    "/audit/?since=soonish",
    "/api/v1/docs",
    "/no-such-page/",
    "/pools/no-such-pool/",
)


def test_filtered_empty_and_refused_states(people: People) -> None:
    page = people("admin", reduced_motion="reduce")
    with findings_of(page) as findings:
        for path in STATES:
            page.goto(path)
            inspect(page, findings)


def test_a_viewers_locked_buttons(people: People) -> None:
    page = people("viewer", reduced_motion="reduce")
    with findings_of(page) as findings:
        for path in (
            a_group(page, "stdlib-parse"),
            "/pools/stdlib-parse/",
            "/secrets/",
            "/notifications/",
            "/access/",
            "/audit/",
        ):
            page.goto(path)
            inspect(page, findings)


def test_open_dialogs_menus_and_messages(people: People) -> None:
    page = people("admin", reduced_motion="reduce")
    with findings_of(page) as findings:
        page.goto("/pools/stdlib-parse/")
        for dialog in ("pause", "drain", "scale"):
            page.locator(f"#do-{dialog}").click()
            expect(page.locator(f"dialog#{dialog}")).to_be_visible()
            inspect(page, findings, f"dialog {dialog}")
            page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        page.keyboard.type("dead")
        inspect(page, findings, "search or jump")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        inspect(page, findings, "keyboard help")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Signed in as").click()
        inspect(page, findings, "user menu")
        page.goto("/dead-letters/")
        page.locator("input[data-row]").first.check()
        inspect(page, findings, "selection bar")
        page.get_by_role("button", name=re.compile("^Requeue")).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        inspect(page, findings, "dialog requeue")


def test_sign_in_and_what_was_typed_wrong(people: People) -> None:
    admin = people("admin", reduced_motion="reduce")
    with findings_of(admin) as findings:
        admin.goto("/pools/new/")
        admin.get_by_label("Short name").fill("Not A Slug")
        admin.locator("form.pw-form").evaluate("form => { form.noValidate = true }")
        admin.get_by_role("button", name="Make the pool").click()
        inspect(admin, findings, "errors beside the fields")
        admin.context.clear_cookies()
        admin.goto("/audit/")
        assert urlsplit(admin.url).path == "/sign-in/"
        inspect(admin, findings)
        admin.get_by_label("Username").fill("nobody")
        admin.get_by_label("Password").fill("wrong")
        admin.get_by_role("button", name="Sign in").click()
        inspect(admin, findings, "a wrong password")


def test_the_page_of_a_job_that_runs_or_failed(people: People) -> None:
    page = people("viewer", reduced_motion="reduce")
    with findings_of(page) as findings:
        page.goto(a_job(page))
        inspect(page, findings)


def test_a_payload_that_is_open(people: People) -> None:
    page = people("oncall", reduced_motion="reduce")
    with findings_of(page) as findings:
        page.goto(a_job(page))
        page.get_by_role("link", name="Reveal the payload…").click()
        dialog = page.get_by_role("dialog", name="Reveal the payload?")
        inspect(page, findings, "dialog reveal")
        dialog.get_by_label("Reason").fill("Which module is it?")
        dialog.get_by_role("button", name="Reveal for 10 minutes").click()
        expect(page.locator("#payload")).to_contain_text("Open to you until")
        inspect(page, findings, "revealed")
        page.get_by_role("button", name="Hide now").click()
        expect(page.locator("#payload")).to_contain_text("••••••••")
