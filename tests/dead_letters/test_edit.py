"""Editing one payload and requeueing it: by whom, what exactly, and that no value lies anywhere in plain."""

import hashlib
import json
import pickle
import re
import zlib
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import redis
from django.apps import apps
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from audit.models import Event
from audit.recorder import commitment
from audit.sentences import sentence
from pools.controller.lease import LeaderLease
from pools.controller.sweeper import Sweeper
from pools.models import (
    DeadLetter,
    Operation,
    OutboxMessage,
    PayloadEdit,
    PayloadReveal,
    Pool,
    SealedPayload,
)
from pools.operations import edit_create, operation_cancel, operation_pause, payload_reveal
from pools.operations.errors import Conflict, Refused
from pools.operations.execute import run_operation
from pools.permissions import REQUEUE, REVEAL, Denied, role_group
from tests.api.calling import Caller, problem
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed
from tests.dead_letters.test_job import url
from tests.dead_letters.test_list import text
from tests.support.cast import Cast, actor, signed_in
from tests.support.valkey import ValkeyServer

OLD, NEW = "sk_live_old_4f9a", "sk_live_new_77c1"
CALL = ["shop.payments.capture", None, [OLD], {"order": {"id": 7}}]
URL = "/payloads/job-1/edit/"
WHY = "The key was rotated"


@pytest.fixture
def client(valkey: ValkeyServer, settings: Settings) -> redis.Redis:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": ""}}
    return valkey.client


@pytest.fixture
def job(cast: Cast, payments: Pool, client: redis.Redis) -> str:
    """Dead, and open to Bob."""
    write_failed(client, "job-1", queue="payments", data=packed(CALL))
    failed(payments, "job-1")
    payload_reveal(actor=actor(cast.bob), job_id="job-1", reason="Which key?")
    return "job-1"


def packed(call: Any) -> bytes:
    return zlib.compress(json.dumps(call).encode())


def seen(call: Any = CALL) -> str:
    return hashlib.sha256(packed(call)).hexdigest()


def edit(cast: Cast, **more: Any) -> Operation:
    values = {"actor": actor(cast.bob), "job_id": "job-1", "args": [NEW], "kwargs": CALL[3], "seen": seen()}
    return edit_create(**(values | {"reason": WHY} | more))


def payload_of(client: redis.Redis) -> Any:
    return json.loads(zlib.decompress(client.hget("rq:job:job-1", "data") or b""))


def nothing_happened(client: redis.Redis) -> bool:
    kept = payload_of(client) == CALL and client.zscore("rq:failed:payments", "job-1") is not None
    return kept and not any(model.objects.exists() for model in (Operation, OutboxMessage, SealedPayload, PayloadEdit))


def stored_in_sql() -> str:
    """Every row of every table, as text and bytes."""
    rows = [list(model.objects.values()) for model in apps.get_models() if model._meta.managed]  # type: ignore[attr-defined]
    return repr([{k: bytes(v) if isinstance(v, memoryview) else v for k, v in row.items()} for t in rows for row in t])


def test_the_job_goes_back_with_other_arguments_and_the_rest_as_it_was(
    cast: Cast, job: str, client: redis.Redis
) -> None:
    row = edit(cast)
    assert (row.kind, row.frozen_count, row.state) == ("edit", 1, "running")
    assert OutboxMessage.objects.get().key == str(row.pk) and payload_of(client) == CALL, "the worker does it"
    run_operation(row.pk)
    assert payload_of(client) == ["shop.payments.capture", None, [NEW], {"order": {"id": 7}}]
    assert client.lrange("rq:queue:payments", 0, -1) == [b"job-1"] and not client.exists("rq:failed:payments")
    row.refresh_from_db()
    assert (row.state, row.outcome_counts()) == ("ended", {"requeued": 1})
    assert DeadLetter.objects.get().state == "requeued" and not SealedPayload.objects.exists()
    started, ended = Event.objects.order_by("pk")[1:]
    assert sentence(started) == "bob set out to requeue 1 dead letter in payments with an edited payload"
    assert sentence(ended) == "Console jobs requeued 1 dead letter in payments with an edited payload"


def test_no_value_lies_in_plain_anywhere(cast: Cast, job: str, client: redis.Redis) -> None:
    broker = dump(client)
    row = edit(cast)
    assert dump(client) == broker, "nothing is in the outbox's queue either"
    sealed = SealedPayload.objects.get()
    assert NEW not in stored_in_sql() and OLD not in stored_in_sql()
    assert packed(["shop.payments.capture", None, [NEW], CALL[3]]) not in bytes(sealed.sealed)
    run_operation(row.pk)
    assert NEW not in stored_in_sql() and OLD not in stored_in_sql()
    client.delete("rq:job:job-1")
    assert NEW not in repr(dump(client))


def test_the_log_holds_places_and_commitments(cast: Cast, job: str) -> None:
    edit(cast, kwargs={"order": {"id": 8}, "new": 1})
    event, kept = Event.objects.get(action="operation.edit_started"), PayloadEdit.objects.get()
    assert event.detail["paths"] == kept.paths == ["args.0", "kwargs.order.id", "kwargs.new"]
    new = json.dumps(["shop.payments.capture", None, [NEW], {"order": {"id": 8}, "new": 1}])
    assert event.detail["old_commitment"] == kept.old_commitment == commitment(bytes(kept.salt), json.dumps(CALL))
    assert event.detail["new_commitment"] == kept.new_commitment == commitment(bytes(kept.salt), new)
    assert bytes(kept.salt).hex() not in repr(event.detail) and event.reason == WHY


def test_changed_since_it_was_shown(cast: Cast, job: str, client: redis.Redis) -> None:
    with pytest.raises(Conflict, match="since you looked"):
        edit(cast, seen="0" * 64)
    assert nothing_happened(client)


def test_changed_before_it_was_sent(cast: Cast, job: str, client: redis.Redis) -> None:
    row = edit(cast)
    other = packed(["shop.payments.capture", None, ["by somebody else"], {}])
    client.hset("rq:job:job-1", "data", other)
    before = dump(client)
    run_operation(row.pk)
    assert dump(client) == before and row.outcome_counts() == {"changed": 1}
    assert DeadLetter.objects.get().state == "open" and not SealedPayload.objects.exists()
    page = text(signed_in(cast.bob).get(f"/operations/{row.pk}/").content)
    assert "its payload was changed meanwhile" in page and "Skipped, not edited" in page


def test_an_edit_that_is_too_old_is_dropped(cast: Cast, job: str, client: redis.Redis) -> None:
    row = edit(cast)
    lease = LeaderLease()
    assert lease.renew()
    Sweeper(lease).tick()
    assert SealedPayload.objects.count() == 1
    SealedPayload.objects.update(expires_at=timezone.now())
    Sweeper(lease).tick()
    assert not SealedPayload.objects.exists()
    run_operation(row.pk)
    assert row.outcome_counts() == {"expired": 1} and payload_of(client) == CALL


def test_with_another_key_it_cannot_be_opened(cast: Cast, job: str, client: redis.Redis, settings: Settings) -> None:
    row = edit(cast)
    settings.SECRET_KEY = "another" * 8
    run_operation(row.pk)
    assert row.outcome_counts() == {"expired": 1} and payload_of(client) == CALL


def test_the_worker_dies_between_the_script_and_its_outcome(cast: Cast, job: str, client: redis.Redis) -> None:
    """Also when the payload is gone by the time somebody goes on."""
    from pools.operations.execute import _next_chunk, receipt_of
    from pools.operations.sending import send

    row = edit(cast)
    step = _next_chunk(row.pk)
    send(step.row, step.items, receipt_of(step.row))
    SealedPayload.objects.all().delete()
    run_operation(row.pk)
    assert row.outcome_counts() == {"requeued": 1} and payload_of(client)[2] == [NEW]
    assert client.llen("rq:queue:payments") == 1


def test_cancelling_drops_the_payload(cast: Cast, job: str, client: redis.Redis) -> None:
    row = operation_pause(actor=actor(cast.bob), operation=edit(cast))
    operation_cancel(actor=actor(cast.bob), operation=row, reason="No")
    assert not SealedPayload.objects.exists() and payload_of(client) == CALL


def test_it_must_be_open_to_the_editor(cast: Cast, job: str, client: redis.Redis) -> None:
    with pytest.raises(Refused, match="reveal it first"):
        edit(cast, actor=actor(cast.alice))
    PayloadReveal.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Refused, match="reveal it first"):
        edit(cast)
    assert nothing_happened(client)


@pytest.mark.parametrize("lacks", [REQUEUE, REVEAL])
def test_it_takes_both_rights(cast: Cast, payments: Pool, job: str, client: redis.Redis, lacks: str) -> None:
    from guardian.shortcuts import remove_perm

    remove_perm(lacks, role_group(cast.payments, "oncall"), payments)
    with pytest.raises(Denied):
        edit(cast)
    event = Event.objects.latest("pk")
    assert (event.action, event.outcome, event.detail) == ("operation.edit_started", "denied", {"permission": lacks})
    assert nothing_happened(client)
    page = text(signed_in(cast.bob).get(URL).content)
    assert f"Editing needs pools.{lacks} on payments. ada can grant it." in page and OLD not in page


def test_no_difference_is_no_edit(cast: Cast, job: str, client: redis.Redis) -> None:
    with pytest.raises(Refused, match="Nothing differs"):
        edit(cast, args=[OLD])
    assert nothing_happened(client)


def test_a_pickle_is_not_edited_and_says_why(cast: Cast, job: str, client: redis.Redis) -> None:
    stored = zlib.compress(pickle.dumps(("shop.payments.capture", None, (OLD,), {})))
    client.hset("rq:job:job-1", "data", stored)
    with pytest.raises(Refused, match="runs code"):
        edit(cast, seen=hashlib.sha256(stored).hexdigest())
    bob = signed_in(cast.bob)
    page = text(bob.get(url("job-1")).content)
    assert "A pickle cannot be edited: it would have to be loaded" in page
    assert f'href="{URL}"' not in bob.get(url("job-1")).content.decode()
    assert "It cannot be edited. It is a pickle." in text(bob.get(URL).content)


# The page


def values(html: str) -> dict[str, str]:
    """What the form on the page would post."""
    found = {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', html)}
    areas = re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>\s*(.*?)</textarea>', html, re.S)
    return found | {name: unescape(value) for name, value in areas}


def review(bob: Client, **typed: str) -> Any:
    form = values(bob.get(URL).content.decode())
    return bob.post(URL, form | {"do": "review"} | typed)


def test_from_the_job_to_the_difference_to_the_operation(cast: Cast, job: str, client: redis.Redis) -> None:
    bob = signed_in(cast.bob)
    assert f'href="{URL}"' in bob.get(url("job-1")).content.decode()
    shown = bob.get(URL)
    assert "no-store" in shown["Cache-Control"] and "The function cannot be changed" in text(shown.content)
    form = values(shown.content.decode())
    assert (json.loads(form["args"]), json.loads(form["kwargs"]), form["seen"]) == ([OLD], CALL[3], seen())
    difference = review(bob, args=json.dumps([NEW]))
    page = text(difference.content)
    assert difference.status_code == 200 and "no-store" in difference["Cache-Control"]
    assert f"- &quot;{OLD}&quot;" in page and f"+ &quot;{NEW}&quot;" in page and nothing_happened(client)
    confirmed = values(difference.content.decode()) | {"do": "edit"}
    missing = bob.post(URL, confirmed | {"reason": " "})
    assert missing.status_code == 422 and "Say why" in text(missing.content) and nothing_happened(client)
    again = bob.post(URL, {name: confirmed[name] for name in ("args", "kwargs", "seen")})
    assert NEW in values(again.content.decode())["args"] and "Nothing differs" not in text(again.content)
    done = bob.post(URL, confirmed | {"reason": WHY}, follow=True)
    assert "The job is requeued with the edited payload" in text(done.content)
    run_operation(Operation.objects.get().pk)
    assert payload_of(client)[2] == [NEW] and NEW not in done.content.decode()


def test_where_it_would_wait_is_said_before_the_click(cast: Cast, job: str, payments: Pool) -> None:
    Pool.objects.filter(pk=payments.pk).update(run_state="paused")
    shown = text(review(signed_in(cast.bob), args=json.dumps([NEW])).content)
    assert "payments takes no jobs now: what is sent there waits." in shown


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ({"args": "[1,"}, "Line 1, column 4"),
        ({"args": "{}"}, "Must be a JSON list"),
        ({"args": ""}, "Must be a JSON list"),
        ({"kwargs": "[]"}, "Must be a JSON object"),
        ({"kwargs": '{"a": NaN}'}, "NaN is no JSON"),
        ({"kwargs": '{"a": 1, "a": 2}'}, "twice"),
        ({"args": "x" * 300_000}, "at most"),
    ],
)
def test_what_is_typed_must_stay_json(
    cast: Cast, job: str, client: redis.Redis, typed: dict[str, str], why: str
) -> None:
    bob = signed_in(cast.bob)
    wrong = review(bob, **typed)
    assert wrong.status_code == 422 and why in text(wrong.content) and "What changes" not in text(wrong.content)
    form = values(bob.get(URL).content.decode())
    assert bob.post(URL, form | {"do": "edit", "reason": WHY} | typed).status_code == 422
    assert nothing_happened(client)


def test_the_same_again_is_said(cast: Cast, job: str) -> None:
    assert "Nothing differs from the payload as it is." in text(review(signed_in(cast.bob)).content)


def test_the_function_cannot_be_changed(cast: Cast, job: str, client: redis.Redis) -> None:
    """Whatever is posted."""
    bob = signed_in(cast.bob)
    form = values(bob.get(URL).content.decode()) | {"args": json.dumps([NEW]), "do": "edit", "reason": WHY}
    bob.post(URL, form | {"func": "os.system", "text": '["os.system", null, ["id"], {}]'})
    run_operation(Operation.objects.get().pk)
    assert payload_of(client)[:2] == ["shop.payments.capture", None]


def test_changed_meanwhile_on_the_page(cast: Cast, job: str, client: redis.Redis) -> None:
    bob = signed_in(cast.bob)
    form = values(bob.get(URL).content.decode()) | {"args": json.dumps([NEW]), "do": "edit", "reason": WHY}
    client.hset("rq:job:job-1", "data", packed(["shop.payments.capture", None, [], {}]))
    refused = bob.post(URL, form)
    assert refused.status_code == 409 and "changed since you looked" in text(refused.content)
    assert "Start again from the payload as it is now" in text(refused.content)


def test_without_a_reveal_the_page_asks_for_one(cast: Cast, job: str) -> None:
    alice = signed_in(cast.alice)
    page = alice.get(URL).content.decode()
    assert OLD not in page and "revealing takes a reason of its own" in text(page.encode())
    response = alice.post("/payloads/job-1/reveal/", {"reason": "To edit it", "next": URL})
    assert response["Location"] == URL and OLD in alice.get(URL).content.decode()
    assert Event.objects.latest("pk").action == "payload.revealed"


@pytest.mark.parametrize(("who", "status"), [("vera", 403), ("otto", 403), ("charlie", 404)])
def test_others_edit_nothing(cast: Cast, job: str, client: redis.Redis, who: str, status: int) -> None:
    posted = {"args": "[]", "kwargs": "{}", "seen": seen(), "do": "edit", "reason": WHY}
    found = signed_in(getattr(cast, who))
    assert found.post(URL, posted).status_code == status and nothing_happened(client)
    page = found.get(URL)
    assert OLD not in page.content.decode() and page.status_code == (404 if status == 404 else 200)


def test_what_is_no_dead_letter_any_more(cast: Cast, job: str, client: redis.Redis) -> None:
    DeadLetter.objects.update(state="requeued")
    assert "no dead letter any more" in text(signed_in(cast.bob).get(URL).content)
    with pytest.raises(Refused, match="no dead letter"):
        edit(cast)


def test_the_job_says_that_it_was_edited(cast: Cast, job: str) -> None:
    edit(cast)
    assert "Edited before: args.0" in text(signed_in(cast.bob).get(url("job-1")).content)
    masked = text(signed_in(cast.vera).get(url("job-1")).content)
    assert "Edited before: 1 value of its arguments" in masked and "args.0" not in masked


def test_a_limit_of_none_makes_it_wait_and_the_approver_sees_no_value(
    cast: Cast, job: str, client: redis.Redis
) -> None:
    Pool.objects.update(approval_limit=0)
    row = edit(cast)
    assert row.state == "awaiting" and not OutboxMessage.objects.exists()
    page = signed_in(cast.ada).get(f"/operations/{row.pk}/").content.decode()
    assert NEW not in page and OLD not in page and "Edited before: args.0" in page
    before = review(signed_in(cast.bob), args="[]")
    assert "Ask to requeue with this payload" in text(before.content) and "ada can give it" in text(before.content)


# The API


def test_over_the_api(cast: Cast, payments: Pool, client: redis.Redis) -> None:
    write_failed(client, "job-1", queue="payments", data=packed(CALL))
    failed(payments, "job-1")
    bob = Caller(cast.bob)
    body = {"args": [NEW], "kwargs": CALL[3], "seen": "0" * 64, "reason": WHY}
    assert "reveal it first" in problem(bob.post("jobs/job-1/edit", body), 409)["detail"]
    body["seen"] = bob.post("jobs/job-1/reveal", {"reason": "Which key?"}).json()["payload"]["sha256"]
    problem(bob.post("jobs/job-1/edit", body | {"seen": "0" * 64}), 409)
    problem(bob.post("jobs/job-1/edit", body | {"args": {}}), 422, "args")
    problem(bob.post("jobs/job-1/edit", body | {"args": [OLD]}), 422, "args")
    problem(bob.post("jobs/job-1/edit", body | {"func": "os.system"}), 422, "func")
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    problem(bob.post("jobs/job-1/edit", body | {"args": [deep]}), 422, "args")
    assert nothing_happened(client)
    made = bob.post("jobs/job-1/edit", body, key="edit-1")
    assert made.status_code == 201 and made.json()["kind"] == "edit" and NEW not in made.content.decode()
    assert bob.post("jobs/job-1/edit", body, key="edit-1").json() == made.json()
    assert Operation.objects.count() == 1 and NEW not in stored_in_sql()
    problem(Caller(cast.vera).post("jobs/job-1/edit", body), 403)
    problem(Caller(cast.charlie).post("jobs/job-1/edit", body), 404)
