"""What the stories have in common: who plays, and the first clicks."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from playwright.sync_api import APIResponse, Browser, Locator, Page, expect

from tests.support.installation import Installation
from tests.support.waiting import wait_for


class People(Protocol):
    """The fixture ``people``: signs in, and gives a page in a browser context of that person's own."""

    def __call__(self, name: str, **options: Any) -> Page: ...


def sign_in(browser: Browser, url: str, name: str, **options: Any) -> Page:
    """A page of an installation, in a browser context of its own, signed in as one of the demo accounts."""
    page = browser.new_context(base_url=url, **options).new_page()
    page.goto("/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill("poolwarden-demo")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    page.wait_for_load_state("domcontentloaded")  # by then the page's scripts listen
    return page


def token_of(page: Page) -> str:
    """The CSRF token of the page that is open; every signed-in page has a form that holds it."""
    return page.locator("[name=csrfmiddlewaretoken]").first.input_value()


def post(page: Page, path: str, **fields: str) -> APIResponse:
    """Send a form with this person's cookies and CSRF token, as a script in their browser could."""
    form: dict[str, Any] = {"csrfmiddlewaretoken": token_of(page), **fields}
    return page.context.request.post(path, form=form, max_redirects=0)


def first_link(page: Page, path: str, links: str) -> str:
    """The address of the first of ``links`` on a page; waits until the demo has brought it there."""

    def find() -> str:
        page.goto(path)
        found = page.locator(links)
        return (found.first.get_attribute("href") or "") if found.count() else ""

    return wait_for(find, timeout=120, every=1, message=f"{links} on {path}")


def a_group(page: Page, pool: str) -> str:
    """The address of the largest failure group of a pool."""
    return first_link(page, f"/dead-letters/?pool={pool}", "#groups a[data-open]")


def a_job(page: Page) -> str:
    """The address of the newest dead letter."""
    return first_link(page, "/dead-letters/?show=jobs", "#jobs a[data-open]")


def number_in(figure: Locator) -> int:
    """``4,102 84 %`` is 4102."""
    found = re.search(r"[\d,]+", figure.inner_text())
    assert found, figure.inner_text()
    return int(found[0].replace(",", ""))


def wait_reloading(page: Page, condition: Callable[[], bool], message: str, *, timeout: float = 20) -> None:
    """For what the next load of the page must show."""

    def check() -> bool:
        if condition():
            return True
        page.reload()
        return condition()

    wait_for(check, timeout=timeout, every=0.3, message=message)


@contextmanager
def nobody_restarts(victim: Installation) -> Iterator[None]:
    """``up`` stands still, so what is killed stays dead for as long as a test wants to look."""
    assert victim.process is not None
    victim.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        victim.process.send_signal(signal.SIGCONT)
