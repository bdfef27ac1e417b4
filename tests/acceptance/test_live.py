"""Numbers refresh in place: what somebody is doing on the page is left alone, and old numbers say how old they are."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.steps import People, a_group, a_job
from tests.support.installation import Installation
from tests.support.waiting import wait_for

pytestmark = pytest.mark.acceptance

NEXT = """() => new Promise((done) => {
  document.addEventListener("pw:live", () => done(true), {once: true});
  document.getElementById("pw-live").dispatchEvent(new CustomEvent("pw:refresh"));
})"""
STAMP = "#pw-fresh time"
# Where the reader is: what has the focus, what is selected in it, how far the page is scrolled.
PLACE = """() => {
  const focus = document.activeElement;
  return [focus.id || focus.name || focus.outerHTML, focus.value, focus.selectionStart, focus.selectionEnd];
}"""


def refreshed(page: Page) -> None:
    """Refresh in place until the numbers are of a later sample."""
    before = page.locator(STAMP).get_attribute("datetime")
    wait_for(
        lambda: page.evaluate(NEXT) and page.locator(STAMP).get_attribute("datetime") != before,
        timeout=30,
        every=0.5,
        message="a later sample on the page",
    )


def test_numbers_move_by_themselves(people: People) -> None:
    page = people("viewer")
    before = page.locator(STAMP).get_attribute("datetime") or ""
    expect(page.locator(STAMP)).not_to_have_attribute("datetime", before, timeout=20_000)


def test_a_refresh_keeps_selection_text_focus_and_place(people: People) -> None:
    page = people("oncall", viewport={"width": 1000, "height": 500})
    a_job(page)
    page.locator("summary", has_text="How to write a filter").click()
    row = page.locator("#jobs tr").first
    name = row.get_attribute("id")
    row.locator("input[data-row]").check()
    search = page.locator("input[data-filter]")
    search.fill("half a wo")
    search.evaluate("field => field.setSelectionRange(2, 6)")
    place = page.evaluate(PLACE)
    page.evaluate("scrollTo(0, 120)")
    refreshed(page)
    assert page.evaluate(PLACE) == place
    assert page.evaluate("scrollY") == 120
    expect(page.locator(f"#{name} input[data-row]")).to_be_checked()
    expect(page.get_by_role("region", name="Selection")).to_contain_text("1 job selected")
    expect(page.locator("details.pw-more")).to_have_attribute("open", "")


def test_a_refresh_keeps_the_row_that_the_keyboard_is_on(people: People) -> None:
    page = people("oncall")
    a_group(page, "stdlib-parse")
    page.keyboard.press("j")
    focused = page.evaluate("document.activeElement.href")
    assert "/dead-letters/groups/" in focused
    refreshed(page)
    assert page.evaluate("document.activeElement.href") == focused


def test_a_refresh_leaves_an_open_dialog_and_what_is_typed_in_it(people: People) -> None:
    page = people("operator")
    page.goto("/pools/stdlib-parse/")
    page.locator("#do-scale").click()
    dialog = page.locator("dialog#scale")
    dialog.get_by_label("Workers per agent").fill("7")
    dialog.get_by_label("Reason").fill("Because of")
    place = page.evaluate(PLACE)
    refreshed(page)
    expect(dialog).to_be_visible()
    assert page.evaluate(PLACE) == place
    expect(dialog.get_by_label("Workers per agent")).to_have_value("7")
    expect(dialog.get_by_label("Reason")).to_have_value("Because of")


def test_a_refresh_leaves_a_frozen_preview_and_unfolded_frames(people: People) -> None:
    page = people("oncall")
    page.goto(a_group(page, "stdlib-parse"))
    page.locator(".pw-trace summary").first.click()
    panel = page.get_by_role("region", name="Requeue this group", exact=True)
    panel.get_by_label("Reason").fill("Still thinking")
    button = panel.get_by_role("button", name=re.compile("^Requeue")).inner_text()
    refreshed(page)
    expect(page.locator(".pw-trace details").first).to_have_attribute("open", "")
    expect(panel.get_by_label("Reason")).to_have_value("Still thinking")
    expect(panel.get_by_role("button", name=button, exact=True)).to_be_visible()


@contextmanager
def frozen(demo: Installation) -> Iterator[None]:
    """The web processes hang: they are there and do not answer."""
    web = [pid for pid, command in demo.descendants().items() if "granian" in command]
    assert web
    for pid in web:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in web:
            os.kill(pid, signal.SIGCONT)


def test_numbers_that_stopped_say_how_old_they_are(people: People, demo: Installation) -> None:
    page = people("viewer")
    figures = page.locator("#totals").inner_text()
    assert "Stale" not in page.locator("#pw-fresh").inner_text()
    with frozen(demo):
        expect(page.locator("#pw-fresh")).to_have_text(re.compile(r"^Stale, \d+ s old$"), timeout=30_000)
        expect(page.locator("#pw-fresh")).to_have_attribute("title", re.compile("does not answer"))
        assert len(page.locator("#totals").inner_text()) >= len(figures) - 4, "the last figures stay readable"
    expect(page.locator("#pw-fresh")).to_contain_text("Sampled", timeout=30_000)
