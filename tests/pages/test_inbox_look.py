"""The inbox in a real browser: the filter bar's suggestions by keyboard and mouse, its errors, without JavaScript."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pools.models import DeadLetter, FailureGroup
from pools.operations import Selection, requeue_create
from pools.selectors.dead_letters import DeadLetterFilter
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.pages.inbox import furnish
from tests.support.cast import Cast, actor, make_cast
from tests.support.flush import allow_flush

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]
URL = "/dead-letters/"
CUT = """table => [...table.querySelectorAll(".btn")]
  .map((button) => button.parentElement).filter((cell) => cell.scrollWidth > cell.clientWidth).length"""


@pytest.fixture
def cast(transactional_db: None) -> Iterator[Cast]:
    cast = make_cast()
    furnish(cast)
    yield cast
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


def options(page: Page) -> Any:
    return page.locator("#filter-options [role=option]")


def test_a_filter_is_written_with_the_keyboard_alone(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, URL)
    page.keyboard.press("/")
    bar = page.get_by_role("combobox", name="Filter")
    expect(bar).to_be_focused()
    page.keyboard.type("err")
    expect(options(page).first).to_contain_text("error:")
    page.keyboard.press("ArrowDown")
    expect(options(page).first).to_have_attribute("aria-selected", "true")
    assert bar.get_attribute("aria-activedescendant") == options(page).first.get_attribute("id")
    page.keyboard.press("Enter")
    expect(bar).to_have_value("error:")
    expect(options(page).first).to_contain_text("TimeoutError")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(bar).to_have_value("error:TimeoutError ")
    expect(bar).to_be_focused()
    expect(options(page).first).to_contain_text("pool:")
    page.keyboard.press("Escape")
    expect(options(page).first).to_be_hidden()
    expect(bar).to_be_focused()
    page.keyboard.type("-qu")
    expect(options(page)).to_have_count(1)
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(bar).to_have_value("error:TimeoutError -queue:")
    page.keyboard.type("low")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dead-letters/?queue=-low&error=TimeoutError")
    expect(bar).to_have_value("-queue:low error:TimeoutError")


def test_a_suggestion_is_taken_with_the_mouse(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, URL)
    bar = page.get_by_role("combobox", name="Filter")
    bar.click()
    options(page).get_by_text("pool:", exact=True).click()
    options(page).get_by_text("payments", exact=True).click()
    expect(bar).to_have_value("pool:payments ")
    bar.press("Enter")
    page.wait_for_url("**/dead-letters/?pool=payments")


def test_a_mistake_is_marked_and_can_be_mended(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, "/sign-in/", reduced_motion="reduce")
    with findings_of(page) as findings:
        page.goto(f"{URL}?filter=pool:payments+queu:low")
        expect(page.locator("mark")).to_have_text("queu:")
        inspect(page, findings, "with a mistake")
        bar = page.get_by_role("combobox", name="Filter")
        expect(bar).to_have_value("pool:payments queu:low")
        bar.fill("pool:payments ")
        expect(options(page).first).to_be_visible()
        inspect(page, findings, "with suggestions")
        bar.press("Escape")
        bar.press("Enter")
        page.wait_for_url("**/dead-letters/?pool=payments")
        page.get_by_text("How to write a filter").click()
        inspect(page, findings, "with its syntax")
        page.get_by_role("link", name="Save view…").click()
        page.get_by_label("Name").fill("Payments")
        page.get_by_role("button", name="Save the view").click()
        expect(page.get_by_role("link", name="Payments", exact=True)).to_have_attribute("aria-current", "true")
        page.goto(f"{URL}views/?since=1h")
        inspect(page, findings)


def test_without_javascript_it_is_a_text_field(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, URL, java_script_enabled=False)
    bar = page.get_by_role("combobox", name="Filter")
    bar.fill("pool:payments age:<7d")
    bar.press("Enter")
    expect(page).to_have_url("**/dead-letters/?pool=payments&since=7d".replace("**", page.url.split("/dead-")[0]))
    page.get_by_role("link", name="Remove filter age:<7d").click()
    expect(bar).to_have_value("pool:payments")
    page.get_by_role("link", name="Clear the filter").click()
    expect(bar).to_have_value("")


@pytest.mark.parametrize("width", [1440, 1280])
def test_tables_of_jobs_fit_their_panel(visit: Any, cast: Cast, width: int) -> None:
    selection = Selection(filter=DeadLetterFilter())
    operation = requeue_create(actor=actor(cast.bob), selection=selection, reason="x", start=False)
    group = FailureGroup.objects.earliest("pk")
    page: Page = visit(cast.bob, "/sign-in/", viewport={"width": width, "height": 900})
    for path in (f"/dead-letters/groups/{group.pk}/", f"/operations/{operation.pk}/", f"{URL}?show=jobs"):
        page.goto(path)
        table = page.locator("table.pw-t-jobs")
        expect(table).to_be_visible()
        beyond = table.evaluate("table => table.getBoundingClientRect().width - table.parentElement.clientWidth")
        assert beyond <= 0, path
        assert table.evaluate(CUT) == 0, path


@pytest.mark.parametrize("path", ["", "?show=jobs", "?show=jobs&state=any"])
def test_a_word_that_never_ends_breaks_on_a_phone(visit: Any, cast: Cast, path: str) -> None:
    """Of a message, a task, a queue, a host: the page is no wider for it."""
    word = "areallylongpackageandmodulename" * 5
    DeadLetter.objects.update(message=word, func=word, queue=word, host=word)
    FailureGroup.objects.update(title=f"ImportError {word}", func=word)
    page: Page = visit(cast.bob, URL + path, viewport={"width": 390, "height": 844})
    expect(page.locator("table.pw-stackable")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_times_of_day_are_utc_or_local(visit: Any, cast: Cast) -> None:
    path = f"/dead-letters/groups/{FailureGroup.objects.earliest('pk').pk}/"
    page: Page = visit(cast.bob, path, timezone_id="Asia/Kolkata")
    clock = page.locator("time[data-clock]").first
    expect(clock).to_have_text(re.compile(r"^\d\d:\d\d:\d\d UTC$"))
    page.keyboard.press("u")
    expect(clock).to_have_text(re.compile(r"^\d\d:\d\d:\d\d GMT\+5:30$"))
    expect(clock).to_have_attribute("title", re.compile(r" UTC$"))
    page.reload()
    expect(clock).to_contain_text("GMT+5:30")
    page.locator(".pw-user").click()
    switch = page.get_by_role("button", name="Times are local, Asia/")
    switch.click()
    expect(clock).to_contain_text("UTC")
    expect(page.get_by_role("button", name="Times are UTC. Show local time")).to_be_visible()


def test_the_inbox_by_keyboard(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, URL)
    bar, boxes = page.locator("[data-bulk]"), page.locator("#groups input[data-row]")
    for key in "jjk":
        page.keyboard.press(key)
    expect(page.locator("#groups tr").first.locator("[data-open]")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(bar).to_contain_text("3 groups selected")
    page.keyboard.press("d")
    expect(page.get_by_role("dialog")).to_contain_text("Discard")
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_contain_text("Requeue")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(bar).to_be_hidden()
    boxes.nth(1).click()
    boxes.nth(3).click(modifiers=["Shift"])
    expect(bar).to_contain_text("3 groups selected")
    page.get_by_text("Select all 5 that match").click()
    expect(bar.get_by_role("button", name="Requeue 30 jobs…")).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("Acknowledge selected groups")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator("#groups tr").first.locator("[data-open]").focus()
    page.keyboard.press("e")
    expect(page.get_by_text("Acknowledged this failure group.")).to_be_visible()


def test_a_group_s_page_by_keyboard(visit: Any, cast: Cast) -> None:
    group = FailureGroup.objects.get(title__startswith="TimeoutError")
    page: Page = visit(cast.bob, f"/dead-letters/groups/{group.pk}/")
    bar, boxes = page.locator("[data-bulk]"), page.locator("#jobs input[data-row]")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    expect(bar).to_contain_text("3 jobs selected")
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_contain_text("Requeue 3 jobs")
    page.keyboard.press("Escape")
    boxes.nth(6).click()
    boxes.nth(8).click(modifiers=["Shift"])
    expect(bar).to_contain_text("6 jobs selected")
    page.get_by_text("Select all 12 that match").click()
    page.keyboard.press("d")
    expect(page.get_by_role("dialog")).to_contain_text("Discard 12 jobs")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_contain_text("Acknowledge this group")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    expect(page.locator("#facts")).to_contain_text("Acknowledged")
