"""Masks, the question and a revealed payload in a real browser: axe, both themes, a phone, without JavaScript."""

import json
import pickle
import zlib
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect
from pytest_django import Settings

from pools.models import FailureGroup, PayloadReveal, Pool
from pools.operations import payload_reveal
from tests.acceptance.look import findings_of, inspect
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast
from tests.support.flush import allow_flush
from tests.support.valkey import ValkeyServer

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]
HOSTILE = "<script>alert(1)</script>\u202e" + "x" * 3000
PAYLOADS: dict[str, bytes] = {
    "json": json.dumps(["shop.f", None, [HOSTILE, 7], {"order": {"id": "ord_1", "lines": [{"sku": "a"}]}}]).encode(),
    "pickle": pickle.dumps(("shop.f", None, (HOSTILE, date(2026, 1, 2)), {"order": {"id": "ord_1"}})),
    "damaged": pickle.dumps(("shop.f", None, ("ord_1", [1, 2]), {}))[:-4],
    "unknown": bytes(range(256)),
}


@pytest.fixture
def cast(transactional_db: None, valkey: ValkeyServer, settings: Settings) -> Iterator[Cast]:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": ""}}
    cast = make_cast()
    make.broker()
    make.lease()
    payments = make.pool(cast.payments, now={"waiting": 1})
    for name, payload in PAYLOADS.items():
        write_failed(valkey.client, name, queue="payments", data=zlib.compress(payload))
    failed(payments, *PAYLOADS, arguments="(••••••••, order=••••••••)")
    yield cast
    allow_flush()


def test_axe_finds_nothing_and_nothing_is_cut_off(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, "/", reduced_motion="reduce")
    paths = [f"/dead-letters/groups/{FailureGroup.objects.get().pk}/", "/dead-letters/?show=jobs", "/jobs/json/"]
    with findings_of(page) as findings:
        for path in [*paths, "/payloads/json/reveal/"]:
            page.goto(path)
            inspect(page, findings)
        for name in PAYLOADS:
            payload_reveal(actor=actor(cast.bob), job_id=name, reason="To see how it looks")
            page.goto(f"/jobs/{name}/")
            expect(page.locator("#payload")).to_contain_text("Open to you until")
            inspect(page, findings)


def test_a_viewer_sees_why_not(visit: Any, cast: Cast) -> None:
    page = visit(cast.vera, "/jobs/json/", reduced_motion="reduce")
    expect(page.locator("#payload")).to_contain_text("pools.reveal_payload on payments")
    with findings_of(page) as findings:
        inspect(page, findings)
        page.goto("/payloads/json/reveal/")
        inspect(page, findings)


def test_revealing_in_the_dialog_and_hiding(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, "/jobs/json/", reduced_motion="reduce")
    page.get_by_role("link", name="Reveal the payload…").click()
    dialog = page.get_by_role("dialog", name="Reveal the payload?")
    dialog.get_by_label("Reason").fill("Which order is it?")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    payload = page.locator("#payload")
    expect(payload).to_contain_text("ord_1")
    expect(page.get_by_role("status").filter(has_text="The payload is open to you until")).to_be_visible()
    with findings_of(page) as findings:
        inspect(page, findings)
    order = payload.locator("summary", has_text="order")
    order.press("Enter")
    expect(payload.get_by_text("ord_1")).not_to_be_visible()
    page.get_by_role("button", name="Hide now").click()
    expect(payload).to_contain_text("order=••••••••")
    expect(payload).not_to_contain_text("ord_1")


def test_it_closes_on_a_page_that_stays_open(visit: Any, cast: Cast) -> None:
    payload_reveal(actor=actor(cast.bob), job_id="json", reason="To see it close")
    page = visit(cast.bob, "/jobs/json/")
    expect(page.locator("#payload")).to_contain_text("ord_1")
    PayloadReveal.objects.update(expires_at=timezone.now())
    expect(page.locator("#payload")).not_to_contain_text("ord_1", timeout=15_000)


def test_without_javascript(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, "/jobs/pickle/", java_script_enabled=False)
    page.get_by_role("link", name="Reveal the payload…").click()
    page.get_by_label("Reason").fill("Which order is it?")
    page.get_by_role("button", name="Reveal for 10 minutes").click()
    expect(page.locator("#payload")).to_contain_text("ord_1")
    expect(page.locator("#payload")).to_contain_text("datetime.date")
    page.locator("summary", has_text="order").click()
    expect(page.locator("#payload").get_by_text("ord_1")).not_to_be_visible()
    assert Pool.objects.count() == 1
