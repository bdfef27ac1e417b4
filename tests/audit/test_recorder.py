import hashlib
import json
from typing import Any

import pytest
import rfc8785
from django.db import transaction

from audit.actions import UnknownAction
from audit.actor import system_actor
from audit.merkle import leaf_hash
from audit.models import Event, Pending, Personal
from audit.recorder import AuditError, TransactionRequired, leaf_bytes, record, record_denied
from audit.selectors import personal_values
from audit.sentences import sentence
from audit.target import Target
from tests.audit.cast import ANA, PAYMENTS, happened


@pytest.mark.django_db
def test_it_keeps_what_happened_and_marks_it_pending() -> None:
    event = happened(before={"state": "running"}, after={"state": "paused"}, detail={"until": "06:00"})

    stored = Event.objects.get()
    assert Pending.objects.get().event_id == stored.pk == event.pk
    assert (stored.actor_kind, stored.actor_id, stored.actor_name) == ("user", "7", "Ana Ruiz")
    assert stored.request_id == "a1b2"
    assert personal_values(stored) == {"address": "10.8.4.21", "session": "5c1e0a9b"}
    assert (stored.action, stored.outcome, stored.reason) == ("pool.paused", "done", "month-end freeze")
    assert (stored.target_kind, stored.target_id, stored.target_name, stored.pool) == (
        "pool",
        "11",
        "payments",
        "payments",
    )
    assert (stored.before, stored.after) == ({"state": "running"}, {"state": "paused"})


@pytest.mark.django_db
def test_the_leaf_is_the_canonical_form_of_every_field() -> None:
    event = happened(before={"b": 1, "a": [True, None]}, after={"é": "ü"})

    stored = Event.objects.get()
    fields = json.loads(bytes(stored.leaf))
    assert rfc8785.dumps(fields) == bytes(stored.leaf) == leaf_bytes(stored, fields["personal"])
    assert fields == {
        "_type": "poolwarden.event/2",
        "id": str(event.uid),
        "at": event.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "actor": {"kind": "user", "id": "7", "name": "Ana Ruiz"},
        "action": "pool.paused",
        "target": {"kind": "pool", "id": "11", "name": "payments", "pool": "payments"},
        "outcome": "done",
        "reason": "month-end freeze",
        "request_id": "a1b2",
        "personal": {
            row.field: hashlib.sha256(bytes(row.salt) + row.value.encode()).hexdigest() for row in event.personal.all()
        },
        "before": {"a": [True, None], "b": 1},
        "after": {"é": "ü"},
        "detail": {},
    }
    assert sorted(fields["personal"]) == ["address", "session"]
    assert b"10.8.4.21" not in bytes(stored.leaf)
    assert leaf_hash(bytes(stored.leaf)) == hashlib.sha256(b"\0" + bytes(stored.leaf)).digest()


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_recorded() -> None:
    with pytest.raises(TransactionRequired):
        happened()
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_action_leaves_no_event() -> None:
    class Broken(Exception):
        pass

    with pytest.raises(Broken), transaction.atomic():
        happened()
        raise Broken
    assert not Event.objects.exists() and not Pending.objects.exists()


@pytest.mark.django_db
def test_an_unregistered_action_is_not_recorded() -> None:
    with pytest.raises(UnknownAction):
        happened(action="pool.painted")
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_denial_outlives_the_refused_action() -> None:
    record_denied(actor=ANA, action="pool.scaled", target=PAYMENTS, permission="pools.scale_pool", reason="more")

    event = Event.objects.get()
    assert (event.outcome, event.detail, event.reason) == ("denied", {"permission": "pools.scale_pool"}, "more")


def deep(levels: int) -> dict[str, Any]:
    return {"a": deep(levels - 1)} if levels else {}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"reason": "x" * 5_000_000}, "reason", "at most 2,000 characters; this has 5,000,000"),
        ({"reason": "a\0b"}, "reason", "NUL"),
        ({"reason": "\ud800"}, "event", "not everything"),
        ({"target": Target("pool", "1", "n" * 501)}, "target", "at most 500"),
        ({"detail": {"text": "x" * 65_000, "more": "y" * 2_000}}, "event", "takes"),
        ({"detail": {"a\0": 1}}, "detail", "NUL"),
        ({"after": {"rate": 0.5}}, "after", "float"),
        ({"after": {"when": object()}}, "after", "object"),
        ({"before": {"n": 2**53}}, "event", "exceeds safe integer"),
        ({"before": deep(100_000 // 1000)}, "before", "nested"),
    ],
    ids=["long reason", "NUL", "surrogate", "long name", "large", "NUL key", "float", "object", "large int", "deep"],
)
def test_what_the_log_cannot_hold_is_refused_with_the_field(fields: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(AuditError, match=f"(?i){says}") as caught:
        happened(**fields)
    assert caught.value.field == field
    assert not Event.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text", ["'; DROP TABLE audit_event; --", "<script>alert(1)</script>", "مرحبا 👩‍🚒 \u202e", "%s {0}"]
)
def test_any_text_is_kept_as_it_is(text: str) -> None:
    record(actor=system_actor(text), action="pool.paused", target=Target("pool", text, text), reason=text)

    stored = Event.objects.get()
    assert stored.reason == stored.target_name == stored.actor_name == json.loads(bytes(stored.leaf))["reason"] == text


@pytest.mark.django_db
def test_an_unknown_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="perhaps"):
        happened(outcome="perhaps")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"action": "pool.scaled"}, "workers"),
        ({"action": "pool.scaled", "after": {"workers": None}}, "workers"),
        ({"action": "pool.scaled", "outcome": "failed", "detail": {"worker": 4}}, "workers"),
        ({"action": "config.refused", "detail": {"version": 3}}, "code"),
        ({"action": "operation.requeue_started", "outcome": "intent"}, "frozen"),
    ],
)
def test_an_event_that_could_not_be_told_is_refused(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(AuditError, match=f"needs {missing}: its sentence") as caught:
        happened(**fields)
    assert caught.value.field == "detail" and not Event.objects.exists()


@pytest.mark.django_db
def test_what_the_sentence_speaks_of_may_be_in_any_part() -> None:
    for part in ("before", "after", "detail"):
        assert happened(action="pool.scaled", **{part: {"workers": 0}}).pk


@pytest.mark.django_db
def test_a_name_that_may_be_a_password_is_kept_apart_from_the_leaf() -> None:
    typed = Target("user", "", "hunter2 hunter2")
    event = happened(action="session.sign_in_failed", outcome="failed", target=typed)

    stored = Event.objects.get()
    (value,) = stored.personal.filter(field="target")
    assert stored.target_name == "(personal)" and b"hunter2" not in bytes(stored.leaf)
    leaf = json.loads(bytes(stored.leaf))
    assert leaf["target"]["name"] == "(personal)"
    assert leaf["personal"]["target"] == hashlib.sha256(bytes(value.salt) + b"hunter2 hunter2").hexdigest()
    assert sentence(stored) == "Ana Ruiz failed to let hunter2 hunter2 in"
    Personal.objects.filter(event=event).delete()
    assert sentence(Event.objects.get()) == "Ana Ruiz failed to let (personal) in"
