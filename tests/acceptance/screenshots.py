"""The console's pictures: ``python -m tests.acceptance.screenshots docs/img`` starts an installation and takes them.

It waits until the demo has something to tell: failures of several causes, an operation, some minutes of history.
"""

import itertools
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

from tests.acceptance.steps import a_group, first_link, post, sign_in
from tests.acceptance.triage import Shop, open_shop, triage
from tests.support.chromium import CHROMIUM, chromium_path
from tests.support.installation import Installation
from tests.support.waiting import wait_for

MODES: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
    "-dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "-390": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True},
}
CAUSES = 4  # failure groups that the demo shows within its first minutes
HISTORY_SECONDS = 150


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        installation = Installation(Path(folder) / "home", extra={"POOLWARDEN_DEMO_WAITING": "400"})
        installation.start(timeout=150)
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM))
        try:
            operator = sign_in(browser, installation.url, "admin")
            paths = furnish(operator)
            for mode, options in MODES.items():
                page = sign_in(browser, installation.url, "admin", **options)
                for name, path in paths.items():
                    page.goto(path)
                    take(page, out / f"{name}{mode}.png")
            with open_shop(installation, Path(folder)) as shop:
                tell(sign_in(browser, installation.url, "oncall", **MODES[""]), shop, out)
        finally:
            browser.close()
            installation.stop()


def furnish(page: Page) -> dict[str, str]:
    """Let the demo run for a while, with some acts of people in it. Returns name → path."""
    began = time.monotonic()
    group = a_group(page, "stdlib-parse")
    wait_for(lambda: causes(page) >= CAUSES, timeout=400, every=2, message=f"{CAUSES} causes of failure")
    post(page, "/pools/stdlib-compress/scale/", workers="2", reason="The backlog grows since noon")
    page.goto(group)
    page.get_by_label("Reason").first.fill("winreg is stubbed now, run them again")
    for canary in page.get_by_label("Canary, jobs").all():
        canary.fill("")
    page.get_by_role("button", name=re.compile(r"^Requeue [\d,]+ jobs?$")).click()
    operation = page.url.removeprefix(page.url.split("/operations/")[0])
    expect(page.locator("#state")).to_have_text("Ended", timeout=60_000)
    wait_for(lambda: time.monotonic() - began > HISTORY_SECONDS, timeout=HISTORY_SECONDS, every=1)
    event = first_link(page, "/audit/?action=operation.requeue_ended", "#timeline a[data-open]")
    return {
        "overview": "/",
        "pool": "/pools/stdlib-parse/",
        "dead-letters": "/dead-letters/",
        "group": first_link(page, "/dead-letters/", "#groups a[data-open]"),
        "operation": operation,
        "audit": event,
    }


def causes(page: Page) -> int:
    page.goto("/dead-letters/")
    return page.locator("#groups tr").count()


def tell(page: Page, shop: Shop, out: Path) -> None:
    """The story of ``docs/triage.md``, step by step."""
    count, steps = shop.spike(), itertools.count(1)
    shop.mend()
    triage(page, count, lambda page, step: take(page, out / f"triage-{next(steps)}-{step}.png"))


def take(page: Page, target: Path) -> None:
    page.wait_for_function("document.fonts.ready.then(() => true)")
    page.screenshot(path=target)
    print(f"{target} {target.stat().st_size // 1024} kB", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
