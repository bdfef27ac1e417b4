"""Only the timeouts of ``payments.capture`` run again, in a few clicks; the other failures stay as they were."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.steps import sign_in
from tests.acceptance.triage import COUNT_CLICKS, REASON, Shop, clicks, open_shop, spike_on_overview, triage, watch
from tests.support.installation import Installation

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def shop(demo: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(demo, tmp_path_factory.mktemp("shop")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, demo: Installation, request: pytest.FixtureRequest) -> Iterator[Page]:
    """On-call's, which counts clicks from here on."""
    page = sign_in(browser, demo.url, "oncall", **getattr(request, "param", {}))
    page.context.add_init_script(COUNT_CLICKS)
    page.goto("/")
    yield page
    page.context.close()


def see(page: Page, step: str) -> None:
    """What ``screenshots`` takes pictures of."""


def only_timeouts_ran(shop: Shop) -> None:
    assert {job: shop.client.hget(f"rq:job:{job}", "status") for job in shop.ids("gateway")} == dict.fromkeys(
        shop.ids("gateway"), b"finished"
    )
    untouched = {job: shop.dump(job) for job in shop.kept}
    assert untouched == shop.kept
    assert {job.decode() for job in shop.client.zrange("rq:failed:payments", 0, -1)} == shop.kept.keys()


def test_with_a_mouse(page: Page, shop: Shop) -> None:
    count = shop.spike()
    shop.mend()
    triage(page, count, see)
    assert clicks(page) == 3
    only_timeouts_ran(shop)


def test_with_the_keyboard_alone(page: Page, shop: Shop) -> None:
    count = shop.spike()
    shop.mend()
    link = spike_on_overview(page, count)
    for _ in range(10):
        page.keyboard.press("j")
        if link.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("TimeoutError")
    page.wait_for_load_state()  # keys are heard once the scripts run
    page.keyboard.press("r")
    expect(page.get_by_label("Reason", exact=True)).to_be_focused()
    page.keyboard.type(REASON)
    button = page.get_by_role("button", name=f"Requeue {count} jobs")
    for _ in range(8):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    watch(page, count, see)
    assert clicks(page) == 0
    only_timeouts_ran(shop)


@pytest.mark.parametrize(
    "page", [{"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}], indirect=True
)
def test_on_a_phone(page: Page, shop: Shop) -> None:
    count = shop.spike()
    shop.mend()
    spike_on_overview(page, count).tap()
    there = page.get_by_role("link", name=f"Requeue {count} jobs…")
    there.tap()
    expect(there).to_be_hidden()
    page.get_by_label("Reason", exact=True).tap()
    page.keyboard.type(REASON)
    page.get_by_role("button", name=f"Requeue {count} jobs").tap()
    watch(page, count, see)
    assert clicks(page) == 4
    only_timeouts_ran(shop)
