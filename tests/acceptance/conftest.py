"""A demo installation shared by the browser tests of one process, and a real Chromium."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.steps import People, sign_in
from tests.support.chromium import CHROMIUM, chromium_path
from tests.support.installation import Installation, own_database

expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Tests that use it share one and leave it running: a file of them runs in one process."""
    home = tmp_path_factory.mktemp("demo") / "home"
    installation = Installation(home, extra=own_database())
    installation.start(timeout=150)
    yield installation
    assert installation.stop() == 0, installation.report()


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """For what is killed, tampered with and abused. It must always recover."""
    home = tmp_path_factory.mktemp("victim") / "home"
    installation = Installation(home, extra=own_database())
    installation.start(timeout=150)
    yield installation
    assert installation.stop() == 0, installation.report()


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    chromium = chromium_path()
    if chromium is None:
        assert not os.environ.get("CI"), "no Chromium is installed"
        pytest.skip("no Chromium is installed: the browser tests need one")
    return browser_type_launch_args | {"executable_path": chromium, "args": list(CHROMIUM)}


@pytest.fixture
def people(browser: Browser, demo: Installation) -> Iterator[People]:
    """``people("oncall")`` is a page in a browser context of its own, signed in as that demo account."""
    pages: list[Page] = []

    def arrive(name: str, **options: Any) -> Page:
        pages.append(sign_in(browser, demo.url, name, **options))
        return pages[-1]

    yield arrive
    for page in pages:
        page.context.close()
