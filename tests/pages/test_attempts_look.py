"""A job's attempts in a real browser: axe, both themes, a phone."""

import base64
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from pytest_django import Settings

from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed
from tests.support import factories as make
from tests.support.cast import Cast, make_cast
from tests.support.flush import allow_flush
from tests.support.valkey import ValkeyServer

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]
LONG = "OSError: <script>alert(1)</script>\u202e" + "x" * 3000


@pytest.fixture
def cast(transactional_db: None, valkey: ValkeyServer, settings: Settings) -> Iterator[Cast]:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": ""}}
    cast = make_cast()
    make.broker()
    make.lease()
    payments = make.pool(cast.payments, now={"waiting": 1})
    why = base64.b64encode(zlib.compress(LONG.encode()))
    run: dict[Any, Any] = {"worker_name": "payments-host-1-858026de", "pw_host": "host-1.example.org", "pw_config": 1}
    for number in range(12):
        times = {"execution_started_at": 1.76e9 + number * 600, "execution_ended_at": 1.76e9 + number * 600 + 2.5}
        valkey.client.xadd("rq:results:a", {"type": 4, "exc_string": why} | run | times, maxlen=9, approximate=False)
    write_failed(valkey.client, "a", queue="payments", status="scheduled")
    valkey.client.zadd("rq:scheduled:payments", {"a": make.ago(minutes=-5).timestamp()})
    failed(payments, "a")
    yield cast
    allow_flush()


def test_axe_finds_nothing_and_nothing_is_cut_off(visit: Any, cast: Cast) -> None:
    page = visit(cast.vera, "/jobs/a/", reduced_motion="reduce")
    expect(page.locator("#attempts")).to_contain_text("3 earlier attempts")
    expect(page.locator("#attempts li").first).to_contain_text("Runs again")
    with findings_of(page) as findings:
        inspect(page, findings)
