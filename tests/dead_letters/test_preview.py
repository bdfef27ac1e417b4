"""The preview of a requeue: what would be frozen, what skipped, and what to know before. Looking changes nothing."""

import re
from html import escape, unescape

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


def test_it_says_how_many_depend_on_a_job_that_is_gone(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    write_failed(client, "a", "b", queue="payments", dependency_ids='["parent"]')
    write_failed(client, "c", queue="payments")
    failed(payments, "a", "b", "c")
    words = text(signed_in(cast.bob).get(URL).content)
    assert "3 can be requeued" in words
    assert "Dependency missing: 2 of those that can be requeued depend on a job that is gone." in words
    client.hset("rq:job:parent", "status", "finished")
    assert "Dependency missing" not in text(signed_in(cast.bob).get(URL).content)


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


def form_of(page: str) -> tuple[str, dict[str, list[str]]]:
    """Where the page's button leads, and what its form posts there."""
    action = re.search(r'formaction="([^"]+)"', page)
    assert action
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input type="hidden" name="(id|all_matching)" value="([^"]*)"', page):
        fields.setdefault(name, []).append(value)
    return unescape(action[1]), fields


@pytest.mark.parametrize(
    ("query", "back", "count"),
    [
        ("group={group}", "/dead-letters/groups/{group}/", 3),
        ("error=TimeoutError&pool=payments", "/dead-letters/?pool=payments&error=TimeoutError", 3),
        ("id={first}&id={last}", "/dead-letters/?show=jobs", 2),
    ],
)
def test_it_leads_back_and_on_to_the_requeue_of_the_same_jobs(
    cast: Cast, payments: Pool, client: redis.Redis, query: str, back: str, count: int
) -> None:
    group = failed(payments, "a", "b", "c")
    failed(payments, "d", title="KeyError: x")
    first, last = pks("a", "d")
    named = {"group": group.pk, "first": first, "last": last}
    bob, back = signed_in(cast.bob), back.format(**named)
    page = bob.get(f"{URL}?{query.format(**named)}").content.decode()
    assert f'href="{escape(back)}"' in page and f"Requeue {count} jobs…" in page
    assert bob.get(back).status_code == 200
    failed(payments, "later", minutes=0)
    asked = bob.post(*form_of(page))
    assert asked.status_code == 200 and f"Requeue {count} jobs" in text(asked.content)
    assert not Operation.objects.exists()


def test_without_the_right_it_says_which_is_missing(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    failed(payments, "a")
    page = signed_in(cast.vera).get(URL)
    assert "formaction" not in page.content.decode()
    assert "Requeue needs pools.requeue_dead_letters on payments." in text(page.content)


def test_what_cannot_be_read_leads_back_too(cast: Cast, payments: Pool) -> None:
    page = signed_in(cast.bob).get(URL, {"since": "soonish"}).content.decode()
    assert "Back to the list" in page and "formaction" not in page
