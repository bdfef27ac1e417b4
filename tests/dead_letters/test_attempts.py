"""A job's attempts on its page and in the API."""

import base64
import zlib

import pytest
import redis
from pytest_django import Settings

from pools.models import BrokerState, Pool
from tests.api.calling import Caller, problem
from tests.broker.records import write_failed
from tests.dead_letters.letters import HOSTILE, failed
from tests.dead_letters.test_job import url
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, signed_in
from tests.support.valkey import ValkeyServer


@pytest.fixture
def client(valkey: ValkeyServer, settings: Settings) -> redis.Redis:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": ""}}
    return valkey.client


@pytest.fixture
def job(client: redis.Redis, payments: Pool) -> str:
    """Ran twice, the first time on config v4."""
    first = {"type": 4, "worker_name": "pay-01/1", "pw_host": "h1", "pw_config": 4}
    first |= {"exc_string": base64.b64encode(zlib.compress(f"OSError: {HOSTILE}\nmore".encode()))}
    client.xadd("rq:results:a", first | {"execution_started_at": 1e9, "execution_ended_at": 1e9 + 2.5})  # type: ignore[arg-type]
    write_failed(client, "a", queue="payments")
    failed(payments, "a")
    return "a"


def test_the_page_tells_each_attempt(cast: Cast, job: str) -> None:
    page = signed_in(cast.vera).get(url(job)).content
    said = text(page)[text(page).index("Attempts each run") :]
    places = [said.index(words) for words in ("Attempt 2: failed", "on w1", "Attempt 1: failed, to be run again")]
    assert places == sorted(places)
    assert "on pay-01/1, host h1, config v4" in said and "took 2.5 s" in said
    assert b"<script>alert" not in page


def test_a_job_that_waits_for_its_retry_says_when(cast: Cast, job: str, client: redis.Redis) -> None:
    client.hset("rq:job:a", "status", "scheduled")
    client.zadd("rq:scheduled:payments", {"a": make.ago(minutes=-5).timestamp()})
    assert "Runs again" in text(signed_in(cast.vera).get(url(job)).content)
    assert Caller(cast.vera).get("jobs/a/attempts").json()["next_at"]


def test_a_broker_that_is_away_leaves_the_page(cast: Cast, job: str) -> None:
    BrokerState.objects.create(alias="default", reachable=False, sampled_at=make.ago(seconds=1))
    response = signed_in(cast.vera).get(url(job))
    assert response.status_code == 200 and "The attempts cannot be read now" in text(response.content)


def test_the_api_tells_the_same(cast: Cast, job: str) -> None:
    body = Caller(cast.vera).get("jobs/a/attempts").json()
    assert [run["number"] for run in body["runs"]] == [2, 1] and (body["forgotten"], body["problem"]) == (0, "")
    first = body["runs"][1]
    assert (first["outcome"], first["worker"], first["host"]) == ("retried", "pay-01/1", "h1")
    assert (first["config_version"], first["took"]) == (4, 2.5)


@pytest.mark.parametrize(
    ("status", "word"), [("queued", "Waiting"), ("finished", "Finished"), ("of its own", "of its own")]
)
def test_a_job_that_only_the_broker_knows_has_a_page(
    cast: Cast, payments: Pool, hidden: Pool, client: redis.Redis, status: str, word: str
) -> None:
    """Its worker's page led here; by now it has ended well, and nothing of it was written into the read model."""
    Pool.objects.filter(pk=payments.pk).update(queues=["payments"])
    write_failed(client, "done", queue="payments")
    client.hset("rq:job:done", "status", status)
    client.xadd("rq:results:done", {"type": 1, "worker_name": "pay-01/1", "pw_host": "h1", "pw_config": 4})
    page = text(signed_in(cast.vera).get(url("done")).content)
    assert f"A job of payments {word} done" in page and "Pool payments Queue payments" in page and "Attempt 1" in page
    assert "on pay-01/1, host h1, config v4" in page
    body = Caller(cast.vera).get("jobs/done/attempts").json()
    assert (body["status"], body["queue"], len(body["runs"])) == (status, "payments", 2)
    assert signed_in(cast.charlie).get(url("done")).status_code == 404
    problem(Caller(cast.charlie).get("jobs/done/attempts"), 404)
    client.hset("rq:job:done", "origin", "nobody's")
    assert signed_in(cast.vera).get(url("done")).status_code == 404


def test_of_an_unknown_job_an_absent_broker_is_said(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    BrokerState.objects.create(alias="default", reachable=False, sampled_at=make.ago(seconds=1))
    response = signed_in(cast.vera).get(url("done"))
    assert response.status_code == 404 and "The attempts cannot be read now" in text(response.content)
    assert signed_in(cast.vera).get(url("done"), {"broker": "no\x00such"}).status_code == 404


def test_who_may_not_see_the_pool_finds_no_job(cast: Cast, job: str) -> None:
    problem(Caller(cast.charlie).get("jobs/a/attempts"), 404)
    problem(Caller(cast.vera).get("jobs/unknown/attempts"), 404)
    problem(Caller().get("jobs/a/attempts"), 401)
    assert Caller(cast.vera).post("jobs/a/attempts", {}).status_code == 405
