"""Revealing a payload: to one person, with a reason, for ten minutes, and told in the log without a value."""

import json
import pickle
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from audit.actor import system_actor
from audit.models import Event
from audit.sentences import sentence
from pools.broker.payload_mask import MASK
from pools.models import DeadLetter, DeadLetterState, FailureGroup, PayloadReveal, Pool
from pools.operations import payload_hide, payload_reveal
from pools.permissions import REVEAL, Denied, role_group
from tests.api.calling import Caller, problem
from tests.broker.commands import counted
from tests.broker.jobs import Marker
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.dead_letters.letters import HOSTILE, failed
from tests.dead_letters.test_job import url
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in
from tests.support.events import recent_actions
from tests.support.valkey import ValkeyServer

SECRET = "sk_live_4f9a"
CALL = ["shop.payments.capture", None, [SECRET], {"order": {"id": "ord_1", "card": SECRET}}]
WHY = {"reason": "Which order does it fail for?"}


@pytest.fixture
def client(valkey: ValkeyServer, settings: Settings) -> redis.Redis:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": ""}}
    return valkey.client


@pytest.fixture
def job(client: redis.Redis, payments: Pool) -> str:
    return make_job(client, payments, "a b:c")


def make_job(client: redis.Redis, pool: Pool, job_id: str, payload: bytes = b"", **more: Any) -> str:
    packed = zlib.compress(payload or json.dumps(CALL).encode())
    write_failed(
        client, job_id, queue="payments", data=packed, description=f"shop.payments.capture('{SECRET}', order=1)"
    )
    failed(pool, job_id, arguments=f"({MASK}, order={MASK})", **more)
    return job_id


def at(job_id: str, verb: str) -> str:
    return f"/payloads/{quote(job_id, safe='')}/{verb}/"


def lists() -> list[str]:
    """Where a job is one of many."""
    return ["/dead-letters/?show=jobs", f"/dead-letters/groups/{FailureGroup.objects.get().pk}/", "/"]


def opened(user: User, job_id: str) -> None:
    payload_reveal(actor=actor(user), job_id=job_id, **WHY)


def test_masked_until_somebody_asks(cast: Cast, job: str, valkey: ValkeyServer) -> None:
    bob = signed_in(cast.bob)
    pages = [url(job), *lists(), at(job, "reveal")]
    before = PayloadReveal.objects.count(), Event.objects.count()
    asked = counted(valkey, lambda: [bob.get(page) for page in pages[1:]])
    assert asked == {}, "no page asks the broker"
    asked = counted(valkey, lambda: bob.get(url(job)))
    assert not {"hget", "hgetall"} & set(asked), "but for the job's attempts, and then not for a payload"
    assert all(SECRET not in bob.get(page).content.decode() for page in pages)
    assert f"({MASK}, order={MASK})" in text(bob.get(url(job)).content)
    assert f"({MASK}, order={MASK})" in text(bob.get("/dead-letters/?show=jobs").content)
    assert (PayloadReveal.objects.count(), Event.objects.count()) == before
    (item,) = Caller(cast.bob).items("dead-letters")
    assert item["arguments"] == f"({MASK}, order={MASK})" and SECRET not in json.dumps(item)


def test_a_group_leads_there_whom_it_lets(cast: Cast, job: str) -> None:
    group, link = lists()[1], f'href="/payloads/a%20b:c/reveal/" aria-label="Reveal the arguments of job {job}"'
    assert link in signed_in(cast.bob).get(group).content.decode()
    assert "/payloads/" not in signed_in(cast.vera).get(group).content.decode()


def test_a_reason_opens_it_for_ten_minutes(cast: Cast, job: str, client: redis.Redis) -> None:
    bob, keys = signed_in(cast.bob), dump(client)
    response = bob.post(at(job, "reveal"), WHY)
    assert response.status_code == 302 and response["Location"] == "/jobs/a%20b:c/#payload"
    row = PayloadReveal.objects.get()
    assert (row.user, row.job_id) == (cast.bob, job)
    assert timedelta(minutes=9, seconds=50) < row.expires_at - timezone.now() <= timedelta(minutes=10)
    shown = bob.get(url(job))
    page = text(shown.content)
    assert SECRET in page and "Open to you until" in page and "Hide now" in page and "ord_1" in page
    assert "no-store" in shown["Cache-Control"]
    event = Event.objects.latest("pk")
    assert (event.target_kind, event.target_id, event.pool, event.reason) == ("job", job, "payments", WHY["reason"])
    assert sentence(event) == "bob revealed the payload of job a b:c in payments for 10 minutes"
    bob.get(url(job))
    assert Event.objects.count() == 1, "every view is the same grant"
    assert dump(client) == keys


def test_it_is_open_to_nobody_else(cast: Cast, job: str) -> None:
    opened(cast.bob, job)
    for person in (cast.alice, cast.ada, cast.vera):
        assert SECRET not in signed_in(person).get(url(job)).content.decode()
    assert signed_in(cast.charlie).get(url(job)).status_code == 404


def test_only_this_job_is_open(cast: Cast, job: str, client: redis.Redis, payments: Pool) -> None:
    other = make_job(client, payments, "other")
    opened(cast.bob, job)
    assert SECRET not in signed_in(cast.bob).get(url(other)).content.decode()


def test_it_closes_by_itself_and_with_the_right(cast: Cast, job: str) -> None:
    opened(cast.bob, job)
    bob = signed_in(cast.bob)
    cast.bob.groups.remove(role_group(cast.payments, "oncall"))
    cast.bob.groups.add(role_group(cast.payments, "viewer"))
    assert SECRET not in bob.get(url(job)).content.decode(), "the right is gone"
    cast.bob.groups.add(role_group(cast.payments, "oncall"))
    assert SECRET in bob.get(url(job)).content.decode()
    PayloadReveal.objects.update(expires_at=timezone.now())
    assert SECRET not in bob.get(url(job)).content.decode(), "the time is up"


def test_hiding_it_now(cast: Cast, job: str) -> None:
    opened(cast.bob, job)
    opened(cast.alice, job)
    bob = signed_in(cast.bob)
    assert "The payload is hidden." in text(bob.post(at(job, "hide"), follow=True).content)
    assert SECRET not in bob.get(url(job)).content.decode()
    assert recent_actions(1) == [("payload.hidden", "done", job)]
    assert PayloadReveal.objects.get().user == cast.alice
    count = Event.objects.count()
    assert "hidden already" in text(bob.post(at(job, "hide"), follow=True).content)
    assert Event.objects.count() == count, "no change, no event"


def test_again_is_ten_minutes_from_then(cast: Cast, job: str) -> None:
    opened(cast.bob, job)
    PayloadReveal.objects.update(expires_at=timezone.now() + timedelta(seconds=5))
    opened(cast.bob, job)
    assert PayloadReveal.objects.get().expires_at > timezone.now() + timedelta(minutes=9)
    assert [action for action, *_ in recent_actions(9)] == ["payload.revealed"] * 2


@pytest.mark.parametrize("verb", ["reveal", "hide"])
def test_without_the_right_it_is_refused_and_recorded(cast: Cast, job: str, verb: str) -> None:
    vera = signed_in(cast.vera)
    assert vera.post(at(job, verb), WHY).status_code == 403
    assert not PayloadReveal.objects.exists()
    event = Event.objects.get()
    assert (event.outcome, event.target_name, event.pool, event.actor_name) == ("denied", job, "payments", "vera")
    assert event.detail == {"permission": REVEAL} and event.reason == WHY["reason"] * (verb == "reveal")
    assert sentence(event).startswith(f"vera was refused: {verb} the payload of job a b:c in payments")
    page = text(vera.get(url(job)).content)
    assert "Revealing the payload needs pools.reveal_payload on payments. ada can grant it." in page
    assert "Revealing a payload needs pools.reveal_payload on payments" in text(vera.get(at(job, "reveal")).content)


@pytest.mark.parametrize("verb", ["reveal", "hide"])
def test_an_outsider_finds_nothing(cast: Cast, job: str, verb: str) -> None:
    charlie = signed_in(cast.charlie)
    assert charlie.post(at(job, verb), WHY).status_code == 404
    assert charlie.post(at("unknown", verb), WHY).status_code == 404
    assert charlie.post(at("nul\x00", verb), WHY).status_code == 404
    assert not PayloadReveal.objects.exists() and not Event.objects.exists()


@pytest.mark.parametrize("verb", ["reveal", "hide"])
def test_looking_opens_and_closes_nothing(cast: Cast, job: str, verb: str) -> None:
    opened(cast.bob, job)
    before = PayloadReveal.objects.get().expires_at, Event.objects.count()
    assert signed_in(cast.bob).get(at(job, verb)).status_code == (200 if verb == "reveal" else 405)
    assert (PayloadReveal.objects.get().expires_at, Event.objects.count()) == before


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001, "a\x00b"])
def test_a_reason_that_cannot_be(cast: Cast, job: str, reason: str) -> None:
    response = signed_in(cast.bob).post(at(job, "reveal"), {"reason": reason})
    assert response.status_code == 422 and 'id="page-reason-error"' in response.content.decode()
    assert not PayloadReveal.objects.exists() and not Event.objects.exists()


def test_no_part_of_the_system_opens_a_payload(job: str) -> None:
    with pytest.raises(Denied):
        payload_reveal(actor=system_actor("console-jobs"), job_id=job, **WHY)
    with pytest.raises(Denied):
        payload_hide(actor=system_actor("console-jobs"), job_id=job)


def test_values_are_stored_nowhere(cast: Cast, job: str) -> None:
    caller = Caller(cast.bob)
    assert SECRET in caller.post("jobs/a b:c/reveal", WHY, key="once").content.decode()
    assert SECRET in signed_in(cast.bob).get(url(job)).content.decode()
    tables = [model for model in apps.get_models() if model._meta.db_table in connection.introspection.table_names()]
    for model in tables:
        assert SECRET not in str(list(model.objects.values())), model  # type: ignore[attr-defined]


def test_over_the_api_it_comes_once(cast: Cast, job: str) -> None:
    caller = Caller(cast.bob)
    first = caller.post("jobs/a b:c/reveal", WHY, key="once")
    body = first.json()
    assert first["Cache-Control"] == "no-store" and body["job_id"] == job
    assert body["payload"]["serializer"] == "json" and json.loads(body["payload"]["text"]) == CALL
    assert {"path": "kwargs.order.card", "type": "text", "text": SECRET} in body["payload"]["values"]
    again = caller.post("jobs/a b:c/reveal", WHY, key="once")
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == body | {"payload": None}
    assert Event.objects.filter(action="payload.revealed").count() == 1


def test_the_api_says_what_is_wrong(cast: Cast, job: str) -> None:
    caller = Caller(cast.bob)
    problem(caller.post("jobs/a b:c/reveal", {"reason": " "}), 422, "reason")
    problem(caller.post("jobs/a b:c/reveal", WHY | {"minutes": 60}), 422, "minutes")
    problem(caller.post("jobs/unknown/reveal", WHY), 404)
    problem(caller.post("jobs/a b:c/reveal", WHY | {"broker": "elsewhere"}), 404)
    problem(Caller(cast.vera).post("jobs/a b:c/reveal", WHY), 403)
    assert not PayloadReveal.objects.exists()


def test_nothing_is_unpickled_anywhere(cast: Cast, payments: Pool, client: redis.Redis, tmp_path: Path) -> None:
    trap = tmp_path / "unpickled"
    make_job(client, payments, "trap", pickle.dumps(("shop.f", Marker(str(trap)), (Marker(str(trap)),), {})))
    bob = signed_in(cast.bob)
    opened(cast.bob, "trap")
    page = text(bob.get(url("trap")).content)
    assert "read and never run" in page and ".open" in page and str(trap) in page
    assert [bob.get(path).status_code for path in lists()] == [200, 200, 200]
    payload = Caller(cast.bob).post("jobs/trap/reveal", WHY).json()["payload"]
    assert [one["plain"] for one in payload["imports"] if one["name"].endswith(".open")] == [False]
    assert not trap.exists()


@pytest.mark.parametrize("job_id", ["a b", "a:b", "a/b", "a/reveal", "?x=1#y", "%2F", "ünï", "line\nend", HOSTILE])
def test_any_id_can_be_revealed(cast: Cast, payments: Pool, client: redis.Redis, job_id: str) -> None:
    make_job(client, payments, job_id)
    bob = signed_in(cast.bob)
    response = bob.post(at(job_id, "reveal"), WHY)
    assert response.status_code == 302
    assert SECRET in bob.get(response["Location"].partition("#")[0]).content.decode()
    assert bob.post(at(job_id, "hide")).status_code == 302 and not PayloadReveal.objects.exists()


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(["f", None, [HOSTILE, "\u202e", "\ud800", "\x00"], {HOSTILE: 1}]).encode(),
        pickle.dumps(("f", None, (HOSTILE, "\u202e"), {HOSTILE: "\x00"})),
        json.dumps(["f", None, ["x" * 1_000_000], {}]).encode(),
        b'["f",null,' + b"[" * 100_000,
        b"\x80\x04R.",
        bytes(range(256)),
    ],
    ids=["JSON", "pickle", "1 MB", "deep", "damaged", "unknown"],
)
def test_hostile_payloads_are_shown_as_text(cast: Cast, payments: Pool, client: redis.Redis, payload: bytes) -> None:
    make_job(client, payments, "evil", payload)
    opened(cast.bob, "evil")
    response = signed_in(cast.bob).get(url("evil"))
    page = response.content.decode()
    assert response.status_code == 200 and len(page) < 3_000_000
    assert "<script>alert" not in page and "\u202e" not in page and "\x00" not in page
    assert Caller(cast.bob).post("jobs/evil/reveal", WHY).status_code == 200


def test_a_job_that_is_gone_or_half_deleted(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    failed(payments, "gone", state=DeadLetterState.GONE, closed_at=timezone.now())
    client.hset("rq:job:gone", "status", "failed")
    opened(cast.bob, "gone")
    assert "The broker holds no payload of this job" in text(signed_in(cast.bob).get(url("gone")).content)


def test_a_job_that_runs_now_can_be_revealed(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    write_failed(client, "r1", data=zlib.compress(json.dumps(CALL).encode()))
    make.worker(payments, current_job_id="r1", current_func="shop.payments.capture", current_since=make.ago(seconds=5))
    assert SECRET in text(signed_in(cast.bob).post(at("r1", "reveal"), WHY, follow=True).content)


def test_without_the_broker_the_page_stands(
    cast: Cast, payments: Pool, own_valkey: ValkeyServer, settings: Settings
) -> None:
    settings.POOLWARDEN_BROKERS = {"default": {"url": own_valkey.url, "prefix": "rq", "region": ""}}
    make_job(own_valkey.client, payments, "a")
    opened(cast.bob, "a")
    own_valkey.kill()
    response = signed_in(cast.bob).get(url("a"))
    assert response.status_code == 200 and "The payload cannot be read now" in text(response.content)
    assert "cannot be read now" in Caller(cast.bob).post("jobs/a/reveal", WHY).json()["payload"]["problem"]


def test_a_broker_that_the_settings_do_not_name_any_more(cast: Cast, job: str) -> None:
    DeadLetter.objects.update(broker="old")
    payload_reveal(actor=actor(cast.bob), job_id=job, broker="old", **WHY)
    response = signed_in(cast.bob).get(url(job) + "?broker=old")
    assert response.status_code == 200 and "no broker has this name" in text(response.content)
    assert signed_in(cast.bob).post(at(job, "hide") + "?broker=old").status_code == 302
    assert not PayloadReveal.objects.exists()
