"""The preview of a requeue: what would be frozen, what skipped, and what to know before. Looking changes nothing."""

import pytest
import redis
from pytest_django import Settings

from audit.models import Event
from pools.models import DeadLetter, Operation, Pool, RunState
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.dead_letters.letters import HOSTILE, failed, numbered, pks
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, signed_in
from tests.support.valkey import ValkeyServer, free_port

URL = "/dead-letters/preview/"


@pytest.fixture
def client(valkey: ValkeyServer, settings: Settings) -> redis.Redis:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    return redis.Redis.from_url(valkey.url)


def test_it_says_what_would_be_frozen_and_skipped(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    ids = numbered(6)
    write_failed(client, *ids, queue="payments")
    group = failed(payments, *ids)
    failed(payments, "other", title="KeyError: no")
    client.delete("rq:job:job-0")
    client.zrem("rq:failed:payments", "job-1")
    client.hdel("rq:job:job-2", "data")
    DeadLetter.objects.filter(job_id="job-3").update(came_back=3, failed_at=make.ago(days=3))
    Pool.objects.update(run_state=RunState.PAUSED)
    before = dump(client)
    response = signed_in(cast.bob).get(URL, {"group": group.pk})
    words = text(response.content)
    assert response.status_code == 200 and "6 dead letters would be frozen" in words
    assert "By error 6 TimeoutError By task 6 shop.payments.capture By pool 6 payments" in words
    assert "5 failed in the last hour 1 failed in the last week" in words
    assert (
        "2 can be requeued 1 no longer in the failed registry" in words and "1 gone" in words and "1 damaged" in words
    )
    assert "All of them were looked at" in words
    assert "1 poison: came back from as many requeues as their pool allows" in words
    assert "1 job came back from as many requeues as their pool allows: they are skipped" in words
    assert "payments takes no jobs now" in words
    assert dump(client) == before and not Event.objects.exists() and not Operation.objects.exists()


def test_a_large_set_is_sampled_and_says_so(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    failed(payments, *numbered(1001))
    words = text(signed_in(cast.vera).get(URL).content)
    assert "A sample: the oldest 1,000 of 1,001 were looked at" in words and "1,000 gone" in words


def test_a_broker_that_is_away_is_said(cast: Cast, payments: Pool, settings: Settings) -> None:
    failed(payments, "a")
    gone = {"url": f"redis://127.0.0.1:{free_port()}/0", "prefix": "rq", "region": ""}
    settings.POOLWARDEN_BROKERS = {"default": gone}
    words = text(signed_in(cast.bob).get(URL).content)
    assert "1 dead letter would be frozen" in words and "could not be asked" in words


def test_single_jobs_and_bad_filters(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    failed(payments, "a", "b", func=HOSTILE)
    bob = signed_in(cast.bob)
    page = bob.get(URL, {"id": pks("a")})
    assert "1 dead letter would be frozen" in text(page.content) and "<script>alert" not in page.content.decode()
    refused = bob.get(URL, {"since": "soonish"})
    assert refused.status_code == 422 and "expected a time" in text(refused.content)
    assert "0 dead letters would be frozen" in text(signed_in(cast.charlie).get(URL).content)
    assert bob.post(URL).status_code == 405
