"""The story this console exists for: failures spike, and the safe ones run again, behind a canary.

A shop's stock RQ worker runs ``payments.capture``. It fails with three exceptions; only the timeouts are safe to run
again. On-call goes from the overview to an operation that has sent them, and every click is counted.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from playwright.sync_api import Locator, Page, expect
from rq import Queue

from tests.acceptance.broker import broker_of
from tests.acceptance.steps import number_in
from tests.support.installation import Installation
from tests.support.waiting import wait_for

QUEUE = "payments"
TROUBLES = {"gateway": 60, "card": 9, "twice": 7}
REASON = "The gateway answers again since 03:12"
CLICKS = "sessionStorage.clicks = Number(sessionStorage.clicks ?? 0)"
COUNT_CLICKS = f"""{CLICKS};
addEventListener("click", (event) => {{ if (event.isTrusted && event.detail) {CLICKS} + 1; }}, true);"""

type Look = Callable[[Page, str], None]


@dataclass
class Shop:
    """Its jobs, on the broker of an installation. ``kept``: what RQ keeps of each failure that must stay untouched."""

    client: redis.Redis
    gateway: Path
    rounds: int = 0
    kept: dict[str, object] = field(default_factory=dict)

    def spike(self) -> int:
        """The gateway is away and orders come in; returns when all have failed, with the number of timeouts."""
        self.gateway.unlink(missing_ok=True)
        self.rounds += 1
        queue, want = Queue(QUEUE, connection=self.client), self.failed() + sum(TROUBLES.values())
        for trouble, count in TROUBLES.items():
            for order in range(count):
                queue.enqueue("payments.capture", order, trouble, job_id=f"{trouble}-{self.rounds}-{order}")
        wait_for(
            lambda: not queue.count and self.failed() == want and not self.client.zcard(f"rq:wip:{QUEUE}"),
            timeout=60,
            message=f"the shop's jobs fail; see {self.gateway.parent}",
        )
        self.kept |= {job: self.dump(job) for job in self.ids("card", "twice")}
        return TROUBLES["gateway"]

    def mend(self) -> None:
        self.gateway.touch()

    def failed(self) -> int:
        return self.client.zcard(f"rq:failed:{QUEUE}")

    def ids(self, *troubles: str) -> list[str]:
        """Of this round."""
        return [f"{trouble}-{self.rounds}-{order}" for trouble in troubles for order in range(TROUBLES[trouble])]

    def dump(self, job: str) -> object:
        """All that RQ keeps of a job."""
        key = f"rq:job:{job}"
        return (
            self.client.hgetall(key),
            self.client.xrange(f"rq:results:{job}"),
            self.client.zscore(f"rq:failed:{QUEUE}", job),
        )


@contextmanager
def open_shop(installation: Installation, folder: Path) -> Iterator[Shop]:
    """A stock worker takes what the shop enqueues; queues that nobody claimed become a pool by themselves."""
    client = broker_of(installation)
    shop, about = Shop(client, folder / "gateway"), client.connection_pool.connection_kwargs
    url = f"redis://:{about['password']}@127.0.0.1:{about['port']}/0"
    code = Path(shutil.copytree(Path(__file__).parent / "shop", folder / "shop"))
    worker = subprocess.Popen(
        [sys.executable, "-m", "rq.cli", "worker", QUEUE, "--url", url, "--worker-class", "rq.SimpleWorker", "--quiet"],
        env=os.environ | {"PYTHONPATH": str(code), "GATEWAY": str(shop.gateway)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=(folder / "worker.log").open("wb"),
    )
    try:
        yield shop
    finally:
        worker.terminate()
        worker.wait(timeout=30)


def spike_on_overview(page: Page, count: int) -> Locator:
    """What the overview, which refreshes by itself, says of the timeouts once all have failed; the link to them."""
    item = page.get_by_role("region", name="Needs attention").locator("li").filter(has_text="TimeoutError").first
    triage = item.get_by_role("link", name=f"Triage {count} jobs")
    expect(triage).to_be_visible(timeout=60_000)
    return triage


def clicks(page: Page) -> int:
    return int(page.evaluate("sessionStorage.clicks"))


def triage(page: Page, count: int, look: Look) -> None:
    """With a mouse, from the overview to the end of all that was sent."""
    link = spike_on_overview(page, count)
    look(page, "overview")
    link.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("TimeoutError")
    look(page, "group")
    page.get_by_label("Reason", exact=True).click()
    page.keyboard.type(REASON)
    look(page, "reason")
    page.get_by_role("button", name=f"Requeue {count} jobs").click()
    watch(page, count, look)


def watch(page: Page, count: int, look: Look) -> None:
    """From the operation's first moment: the canary, then the rest, each followed to its end."""
    expect(page.locator("#progress")).to_contain_text(re.compile(r"\d+ of \d+ have an outcome"))
    look(page, "canary")
    expect(page.locator("#state")).to_have_text("Ended", timeout=60_000)
    expect(page.locator("#progress")).to_contain_text(f"{count} of {count} have an outcome")
    effect = page.get_by_role("region", name="Effect")
    expect(effect).to_contain_text(f"{count} of {count} requeued jobs have ended", timeout=60_000)
    assert number_in(effect.locator("dl div", has_text="Succeeded").locator("dd")) == count
    look(page, "ended")
