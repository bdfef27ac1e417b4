"""Editing a payload in a real browser: the form, the difference, wide and narrow, light and dark."""

import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from playwright.sync_api import expect
from pytest_django import Settings

from pools.models import Operation
from pools.operations import payload_reveal
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast
from tests.support.flush import allow_flush
from tests.support.valkey import ValkeyServer

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]
CALL = ["shop.payments.capture", None, ["ord_1", 25], {"order": {"id": 7, "lines": [1, 2, 3]}, "currency": "EUR"}]
URL = "/payloads/job-1/edit/"


@pytest.fixture
def cast(transactional_db: None, valkey: ValkeyServer, settings: Settings) -> Iterator[Cast]:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": ""}}
    cast = make_cast()
    make.broker()
    make.lease()
    failed(make.pool(cast.payments), "job-1")
    client: redis.Redis = valkey.client
    write_failed(client, "job-1", queue="payments", data=zlib.compress(json.dumps(CALL).encode()))
    payload_reveal(actor=actor(cast.bob), job_id="job-1", reason="Which order?")
    yield cast
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


def test_the_pages_are_well(visit: Any, cast: Cast) -> None:
    page = visit(cast.alice, URL, reduced_motion="reduce")
    with findings_of(page) as findings:
        expect(page.get_by_role("button", name="Reveal for 10 minutes")).to_be_visible()
        inspect(page, findings)
    page = visit(cast.bob, "/jobs/job-1/", reduced_motion="reduce")
    with findings_of(page) as findings:
        page.get_by_role("link", name="Edit and requeue…").click()
        page.get_by_label("Positional arguments").fill('["ord_1", 30]')
        inspect(page, findings)
        page.get_by_role("button", name="Show what changes").click()
        expect(page.get_by_role("region", name="What changes in the arguments")).to_contain_text("30")
        inspect(page, findings)


def test_from_the_form_to_the_operation_without_javascript(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, URL, java_script_enabled=False)
    page.get_by_label("Arguments by name").fill('{"order": {"id": 8}}')
    page.get_by_role("button", name="Show what changes").click()
    page.get_by_role("button", name="Change it again").click()
    expect(page.get_by_label("Arguments by name")).to_have_value('{"order": {"id": 8}}')
    page.get_by_role("button", name="Show what changes").click()
    page.get_by_label("Reason").fill("The order was renumbered")
    page.get_by_role("button", name="Requeue with this payload").click()
    expect(page.get_by_text("The job is requeued with the edited payload.")).to_be_visible()
    assert Operation.objects.get().kind == "edit"
