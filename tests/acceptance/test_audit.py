"""An auditor trusts the log without trusting the console: in the browser, and offline with an export."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.look import findings_of, inspect
from tests.acceptance.steps import People, first_link
from tests.support.installation import ROOT, Installation

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(400)]

VERIFY = re.compile("^Verify")


def an_event(page: Page) -> str:
    """The address of the first sign-in's event, which a checkpoint covers within seconds."""
    link = first_link(page, "/audit/?action=session.signed_in", "#timeline li:last-child a[data-open]")
    event = link.partition("?")[0]
    page.goto(event)
    expect(page.get_by_role("button", name=VERIFY)).to_be_visible(timeout=60_000)
    return event


def offline(bundle: Path, demo: Installation) -> subprocess.CompletedProcess[str]:
    """As an auditor does it, with the key that the controller wrote."""
    command = [sys.executable, "-m", "audit.verify", str(bundle), "--key", str(demo.home / "log.vkey")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def exported(page: Page, path: str, folder: Path) -> Path:
    """Ask for a bundle of what ``path`` shows, wait for it and fetch it."""
    page.goto(path)
    page.get_by_role("link", name=re.compile("^Export (the log|what this shows)…")).click()
    page.get_by_label("Reason").fill("The yearly audit")
    page.get_by_role("button", name=re.compile("^Export")).click()
    expect(page.get_by_text("The export is asked for.")).to_be_visible()
    newest = page.locator("#exports tbody tr").first
    expect(newest).to_contain_text("The yearly audit")
    link = newest.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=90_000)
    with page.expect_download() as download:
        link.click()
    target = folder / download.value.suggested_filename
    download.value.save_as(target)
    return target


def test_an_event_is_verified_in_the_browser(people: People) -> None:
    page = people("auditor")
    an_event(page)
    page.get_by_role("button", name=VERIFY).click()
    expect(page.locator("#proof-verdict")).to_have_text("Verified in this browser")
    expect(page.locator("#proof-steps")).to_contain_text("signed that root")


def test_one_byte_that_is_changed_on_the_way_is_found(people: People) -> None:
    page = people("auditor")
    event = an_event(page)

    def tamper(route: Any) -> None:
        response = route.fetch()
        body = response.text()
        at = body.index("<code>", body.index('id="proof-path"')) + len("<code>")
        route.fulfill(response=response, body=body[:at] + ("1" if body[at] == "0" else "0") + body[at + 1 :])

    page.route(f"**{event}", tamper)
    page.goto(event)
    page.get_by_role("button", name=VERIFY).click()
    expect(page.locator("#proof-verdict")).to_have_text("Does not verify")
    expect(page.locator("#proof-steps")).to_contain_text("The path leads to the root")


def test_an_export_of_the_log_verifies_offline(people: People, demo: Installation, tmp_path: Path) -> None:
    bundle = exported(people("auditor"), "/audit/", tmp_path)
    result = offline(bundle, demo)
    assert result.returncode == 0, result.stdout + result.stderr

    content = bundle.read_bytes()
    at = content.index(b'"action":"session.signed_in"')
    bundle.write_bytes(content[:at] + b'"action":"session.signed_on"' + content[at + 28 :])
    result = offline(bundle, demo)
    assert result.returncode == 1, result.stdout + result.stderr


def test_an_export_of_a_part_verifies_offline(people: People, demo: Installation, tmp_path: Path) -> None:
    bundle = exported(people("auditor"), "/audit/?action=session", tmp_path)
    assert b"pool.created" not in bundle.read_bytes()
    result = offline(bundle, demo)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_checkpoint_on_demand(people: People) -> None:
    page = people("auditor")
    page.goto("/audit/")
    page.get_by_role("button", name="Sign a checkpoint now").click()
    expect(page.get_by_text("A checkpoint was asked for.")).to_be_visible()
    expect(page.locator("#badge")).to_contain_text("Checkpoint over")


def test_a_saved_filter(people: People) -> None:
    page = people("auditor")
    page.goto("/audit/?action=session")
    page.get_by_label("Name", exact=True).fill("Sign-ins")
    page.get_by_role("button", name="Save this filter").click()
    page.goto("/audit/")
    page.get_by_role("link", name="Sign-ins", exact=True).click()
    expect(page).to_have_url(re.compile(r"/audit/\?action=session$"))
    page.get_by_role("button", name="Delete the filter Sign-ins").click()
    expect(page.get_by_text("The saved filter is deleted.")).to_be_visible()


def test_an_administrator_erases_an_address_and_the_proof_holds(people: People) -> None:
    page = people("admin")
    event = an_event(page)
    page.get_by_role("link", name="Erase…").click()
    page.get_by_role("radio", name=re.compile("^Address")).check()
    page.get_by_label("Reason").fill("They asked for it")
    page.get_by_role("button", name="Erase for good").click()
    expect(page).to_have_url(re.compile(f"{event}$"))
    expect(page.locator("main")).to_contain_text("erased")
    page.get_by_role("button", name=VERIFY).click()
    expect(page.locator("#proof-verdict")).to_have_text("Verified in this browser")


def test_the_pages_look_right(people: People) -> None:
    page = people("admin", reduced_motion="reduce")
    with findings_of(page) as findings:
        event = an_event(page)
        page.get_by_role("button", name=VERIFY).click()
        page.get_by_text("The proof itself").click()
        inspect(page, findings, "verified")
        for path in ("/audit/?pool=stdlib-parse", "/audit/exports/", "/audit/exports/new/", f"{event}erase/"):
            page.goto(path)
            inspect(page, findings)
    if folder := os.environ.get("AUDIT_SHOTS"):
        shoot(page, event, Path(folder))


def shoot(page: Page, event: str, folder: Path) -> None:
    """For people to look at: ``AUDIT_SHOTS=FOLDER pytest …``."""
    for width, theme in ((1440, "light"), (1440, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 990})
        page.context.add_cookies([{"name": "pw_theme", "value": theme, "url": page.url.split("/audit/")[0]}])
        for name, path in {"event": event, "timeline": "/audit/", "exports": "/audit/exports/"}.items():
            page.goto(path)
            if name == "event":
                page.get_by_role("button", name=VERIFY).click()
            page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=width < 1000)
