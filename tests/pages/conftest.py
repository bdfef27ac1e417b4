import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, make_cast, signed_in

# Playwright's loop runs in this process, where tests also make rows; the two never touch a connection at once.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def payments(cast: Cast) -> Pool:
    """A managed pool with two versions, sampled a moment ago, served by one agent."""
    pool = make.pool(
        cast.payments, versions=2, now={"waiting": 12, "workers": 4, "busy": 3, "wanted": 4, "done_per_minute": 180}
    )
    make.serves(make.agent(), pool)
    return pool


def is_broken(message: ConsoleMessage, page: Page) -> bool:
    """An error of the page's; that its own answer was a refusal, such as 400, is none."""
    return message.type == "error" and not ("Failed to load" in message.text and message.location["url"] == page.url)


@pytest.fixture
def visit(browser: Browser, live_server: Any, cast: object) -> Iterator[Any]:
    """``visit(person, path, **context options)`` is a page in a context of its own; its complaints are errors."""
    contexts, complaints = [], []

    def go(person: Any, path: str, *, theme: str = "light", **options: Any) -> Page:
        context = browser.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        session = signed_in(person).cookies["session"].value
        cookies = {"session": session, "pw_theme": theme}
        context.add_cookies([{"name": name, "value": value, "url": live_server.url} for name, value in cookies.items()])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if is_broken(message, page) else None)
        page.goto(path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []
