"""What keeps a pool's jobs apart, on the pool's page and on its own, which asks the broker."""

from typing import Any

import pytest
from pytest_django import Settings

from pools.models import Pool
from tests.controller.beats import FakeAgent
from tests.support import factories as make
from tests.support.cast import Cast, signed_in
from tests.support.valkey import ValkeyServer

PAGE = "/pools/payments/isolation/"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def agent(valkey: ValkeyServer, settings: Settings) -> FakeAgent:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    return FakeAgent(valkey.client)


def content(cast: Cast, path: str = PAGE) -> str:
    return str(signed_in(cast.vera).get(path).content.decode())


def isolated(pool: Pool, **limits: Any) -> None:
    spec = make.spec(isolation={"profile": "standard"} | limits, admission={"webhooks": "refuse"})
    make.config_version(pool, 3, spec)
    Pool.objects.filter(pk=pool.pk).update(config_number=3, published_number=3)


def test_a_pool_without_isolation_says_so_in_red(cast: Cast, payments: Pool, agent: FakeAgent) -> None:
    shown = content(cast, "/pools/payments/")
    assert "No isolation" in shown and PAGE not in shown
    agent.serve(payments, isolation=None)
    agent.beat()
    assert "No isolation is reported" in content(cast)


def test_each_host_with_what_it_attests(cast: Cast, payments: Pool, agent: FakeAgent) -> None:
    isolated(payments, memory=512, writable=["/srv/media"])
    controls = {"user": [True, "jobs run as uid 990"], "namespace": [False, "no user namespace"], HOSTILE: [1, HOSTILE]}
    agent.serve(payments, isolation=controls)
    agent.serve(make.pool(payments.team, "other"), isolation={"meter": [True, "of another pool"]})
    agent.beat()
    shown = content(cast)
    for said in ("pay-01", "jobs run as uid 990", "no user namespace", "512 MiB of memory", "/srv/media"):
        assert said in shown, said
    assert "of another pool" not in shown and HOSTILE not in shown
    assert PAGE in content(cast, "/pools/payments/")


@pytest.mark.parametrize("egress", [["api.example.com:443", "[2001:db8::1]:443"], []])
def test_a_strict_pool_shows_what_its_jobs_reach(
    cast: Cast, payments: Pool, agent: FakeAgent, egress: list[str]
) -> None:
    isolated(payments, profile="strict", egress=egress)
    agent.beat()
    shown = content(cast)
    assert all(address in shown for address in egress)
    assert ("Jobs reach no network." in shown) is not bool(egress)


def test_a_worker_shows_what_holds_on_its_host(
    cast: Cast, payments: Pool, agent: FakeAgent, settings: Settings
) -> None:
    page = "/workers/pay-01/1/"
    make.worker(payments, agent=payments.agents.get().agent, config_number=3)
    isolated(payments)
    assert "Its agent reports nothing" in content(cast, page)
    agent.serve(payments, isolation={"user": [True, "jobs run as uid 990"], "landlock": [False, HOSTILE]})
    agent.beat()
    shown = content(cast, page)
    assert "In force on" in shown and "jobs run as uid 990" in shown and HOSTILE not in shown
    settings.POOLWARDEN_BROKERS = {}
    assert "could not be asked: no broker has this name" in content(cast, page)


def test_a_host_that_refuses_says_which_control_it_lacks(cast: Cast, payments: Pool, agent: FakeAgent) -> None:
    isolated(payments)
    refusal = "Isolation: profile standard is refused, as this host lacks landlock (not supported)"
    make.serves(make.agent("old-kernel"), payments, boot_failure=refusal, boot_failed_at=make.ago(seconds=3))
    assert "Cannot start" in content(cast) and refusal in content(cast)
    assert "Cannot start" in content(cast, "/pools/payments/")


@pytest.mark.parametrize("said", [{"user": True}, {"user": [True]}, ["user"], "user", 7, {"user": [[], {}]}])
def test_what_is_no_vector_is_no_error(cast: Cast, payments: Pool, agent: FakeAgent, said: Any) -> None:
    agent.serve(payments, isolation=said)
    agent.beat()
    assert signed_in(cast.vera).get(PAGE).status_code == 200


def test_while_the_broker_is_away_the_page_says_so(cast: Cast, payments: Pool, settings: Settings) -> None:
    settings.POOLWARDEN_BROKERS = {}
    assert "could not be asked: no broker has this name" in content(cast)


def test_outsiders_find_no_page(cast: Cast, payments: Pool, agent: FakeAgent) -> None:
    assert signed_in(cast.charlie).get(PAGE).status_code == 404
    assert signed_in(cast.vera).post(PAGE).status_code == 405
