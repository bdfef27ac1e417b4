"""The pages in a real browser: both themes, a phone, axe, dialogs, refreshing in place. One browser for the file."""

from collections.abc import Iterator
from datetime import time
from typing import Any

import pytest
from playwright.sync_api import expect

from pools.models import Pool, PoolNow, RunState, SecretReference
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.pages.test_cron import ENTRIES
from tests.support import factories as make
from tests.support.cast import Cast, make_cast
from tests.support.flush import allow_flush

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]
PAGES = [
    "/",
    "/pools/",
    "/pools/new/",
    "/pools/payments/",
    "/pools/payments/edit/",
    "/pools/payments/scale/",
    "/pools/payments/isolation/",
    "/pools/payments/config/",
    "/pools/payments/config/?as=yaml",
    "/pools/payments/config/2/",
    "/pools/payments/config/1/restore/",
    "/pools/legacy/",
    "/workers/a/",
    "/workers/c/",
    "/agents/",
    "/secrets/",
    "/secrets/new/",
    "/secrets/gateway-key/remove/",
    "/notifications/",
    "/notifications/new/",
    "/notifications/oncall/edit/",
    "/notifications/oncall/test/",
    "/notifications/oncall/remove/",
    "/access/",
    "/access/grant/",
]
POLICIES = [{"task": "shop.*", "idempotency_key": "order.id", "schema_versions": [2, 3], "fallback": "shop.tell"}]


@pytest.fixture
def cast(transactional_db: None) -> Iterator[Cast]:
    cast = make_cast()
    busy_fleet(cast)
    yield cast
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


def busy_fleet(cast: Cast) -> None:
    """Something of everything that a page may have to show."""
    make.broker()
    make.lease()
    now = {"waiting": 7912, "workers": 2, "busy": 1, "wanted": 4, "oldest_enqueued_at": make.ago(minutes=12)}
    pool = make.pool(cast.payments, versions=2, now=now | {"failed_last_hour": 900}, signed_at=make.ago(minutes=5))
    make.samples(pool, waiting=[n * n for n in range(60)], failed=3)
    make.run_command(pool, RunState.PAUSED)
    make.run_command(pool, RunState.RUNNING)
    agent = make.agent(labels={"zone": "eu"})
    make.serves(agent, pool, generation=0, boot_failure="ModuleNotFoundError: shop", boot_failed_at=make.ago(seconds=3))
    make.serves(make.agent("gone", gone_at=make.ago(minutes=6)), pool)
    make.serves(make.agent("no"), pool, verified=2, running=2, refused_code="expired", refused_at=make.ago(minutes=1))
    spec = make.spec(workers=6, cron=ENTRIES, policies=POLICIES)
    make.config_version(pool, 3, spec, signed_at=make.ago(minutes=5))
    unknown = {"task": "shop.charge", "version": "4", "jobs": 12, "since": int(make.ago(minutes=9).timestamp())}
    PoolNow.objects.filter(pool=pool).update(gates={"unknown": [unknown]})
    Pool.objects.filter(pk=pool.pk).update(config_number=3, published_number=3)
    make.cron_slot(pool, "report", minutes=3, end="failed", job_id="cron-report-20261123T013000Z-0a1b2c3d")
    make.cron_slot(pool, "ping", minutes=1, outcome="skipped")
    make.worker(
        pool, "a", state="busy", current_job_id="j1", current_func="shop.refund", current_since=make.ago(seconds=9)
    )
    make.worker(pool, "b", config_number=2)
    make.worker(pool, "c", gone_at=make.ago(seconds=30))
    make.queue(pool, "payments", depth=7912, failed=12)
    group = make.failure_group(pool, open_count=4102)
    make.failure_hours(group, 0, 2100, 2002)
    make.worker(
        make.pool(cast.payments, "legacy", versions=0, kind="attached", now={"workers": 1}), "stock", config_number=None
    )
    told(cast)
    SecretReference.objects.create(name="gateway-key", uri="env://POOLWARDEN_SECRET_GATEWAY", team=cast.payments)


def told(cast: Cast) -> None:
    """Channels and messages in each of their states."""
    hook = make.channel(
        cast.payments, url="https://hooks.example/" + "long" * 25, quiet_from=time(22), quiet_to=time(7)
    )
    mail = make.channel(cast.payments, "night", kind="email", recipients=["bob@example.com", "alice@example.com"])
    make.channel(cast.payments, "off", enabled=False)
    title = "New failure group in payments: TimeoutError: connect to eu2.cardgate.example timed out after … s"
    for channel, values in (
        (hook, {"attempts": 4, "last_error": "It answered 503"}),
        (mail, {"attempts": 1, "state": "delivered"}),
        (mail, {"attempts": 31, "state": "given_up", "last_error": "The mail server answered 535"}),
        (mail, {}),
    ):
        channel.deliveries.create(payload={"type": "failures", "data": {"title": title}}, **values)


@pytest.mark.parametrize("who", ["ada", "vera"])
def test_axe_finds_nothing_and_nothing_is_cut_off(visit: Any, cast: Cast, who: str) -> None:
    """For who may do everything, and for who may little."""
    page = visit(getattr(cast, who), "/", reduced_motion="reduce")
    with findings_of(page) as findings:
        for path in PAGES:
            page.goto(path)
            expect(page.locator("h1")).to_be_visible()
            inspect(page, findings)


def test_pausing_in_the_dialog(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, "/pools/payments/")
    page.get_by_role("link", name="Pause payments…").click()
    dialog = page.get_by_role("dialog", name="Pause payments")
    expect(dialog).to_contain_text("7,912 jobs stay in the queues")
    dialog.get_by_label("Reason").fill("The gateway is down")
    dialog.get_by_role("button", name="Pause payments").click()
    expect(page.get_by_text("Pausing payments. This page shows which agents have applied it.")).to_be_visible()
    expect(page.locator("#pool-state")).to_contain_text("applied by 0 of 2 agents")
    Pool.objects.get(slug="payments").agents.update(generation=3, run_state=RunState.PAUSED)
    expect(page.locator("#pool-state")).to_contain_text("applied by 2 of 2 agents", timeout=15_000)


def test_pausing_without_javascript(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, "/pools/payments/", java_script_enabled=False)
    page.get_by_role("link", name="Pause payments…").click()
    page.get_by_label("Reason").fill("The gateway is down")
    page.get_by_role("button", name="Pause payments").click()
    expect(page.get_by_text("Pausing payments.")).to_be_visible()
    assert Pool.objects.get(slug="payments").run_state == RunState.PAUSED


def test_figures_refresh_and_an_open_notice_stays_open(visit: Any, cast: Cast) -> None:
    make.run_command(Pool.objects.get(slug="payments"), RunState.DRAINING)
    page = visit(cast.vera, "/")
    page.get_by_text("1 quieter notice").click()
    expect(page.locator("#quiet")).to_have_attribute("open", "")
    PoolNow.objects.filter(pool__slug="payments").update(waiting=41)
    expect(page.locator("#totals")).to_contain_text("41", timeout=15_000)
    expect(page.locator("#quiet")).to_have_attribute("open", "")


def test_the_comparison_follows_what_is_typed(visit: Any, cast: Cast) -> None:
    page = visit(cast.alice, "/pools/payments/config/")
    page.get_by_label("Workers per agent").fill("9")
    expect(page.locator("#comparison")).to_contain_text("+ workers: 9", timeout=15_000)
    page.get_by_role("button", name="YAML").click()
    page.get_by_label("Spec").fill("queues: [payments]\nworkers: many")
    expect(page.locator("#comparison")).to_contain_text("workers: must be a whole number", timeout=15_000)
    page.get_by_label("Spec").fill("queues: [payments]\nworkers: 11")
    page.get_by_label("Message").fill("More of them")
    page.get_by_role("button", name="Publish v4").click()
    expect(page.get_by_role("heading", name="v4 of payments")).to_be_visible()
