import hashlib
from typing import Any

import pytest
from django.test import Client

from audit.actor import Actor
from audit.api import CheckpointOut, ConsistencyOut, ProofOut
from audit.checkpoint import open_checkpoint
from audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from audit.models import Event
from audit.sequencer import Sequencer
from tests.audit.cast import happened, logged
from tests.audit.signing import KEY, WITNESS, checkpointed
from tests.support.tokens import used_token

pytestmark = pytest.mark.django_db

EVENTS = "/api/v1/audit/events"


def client_of(user: Any) -> Client:
    """A client with a token of ``user``; making the token is event 0."""
    token = used_token(user)
    Sequencer().tick()
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def api(auditor: Any) -> Client:
    return client_of(auditor)


def indexes(client: Client, query: str) -> list[int]:
    response = client.get(f"{EVENTS}?{query}")
    assert response.status_code == 200, response.content
    return [item["index"] for item in response.json()["items"]]


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}/0"])
def test_without_a_token_there_is_no_answer(client: Client, auditor: Any, path: str) -> None:
    client.force_login(auditor)
    assert client.get(path).status_code == 401


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}/0", f"{EVENTS}/99"])
def test_an_outsider_learns_what_is_missing(outsider: Any, admin: Any, path: str) -> None:
    response = client_of(outsider).get(path)
    assert response.status_code == 403 and response["Content-Type"] == "application/problem+json"
    assert "audit.view_event" in response.json()["detail"] and "mara can grant it" in response.json()["detail"]


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}/0"])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_only_reads(api: Client, path: str, method: str) -> None:
    assert getattr(api, method)(path, content_type="application/json").status_code == 405
    assert Event.objects.count() == 1


def test_an_event_is_given_whole(api: Client) -> None:
    event = logged(before={"workers": 4}, after={"workers": 56}, detail={"until": "06:00"})
    found = api.get(f"{EVENTS}/1").json()
    leaf = found.pop("leaf").encode()
    at = event.at.strftime("%Y-%m-%dT%H:%M:%S")
    assert found.pop("at").startswith(at)
    assert found == {
        "index": 1,
        "id": str(event.uid),
        "actor": {"kind": "user", "id": "7", "name": "Ana Ruiz"},
        "action": "pool.paused",
        "target": {"kind": "pool", "id": "11", "name": "payments", "pool": "payments"},
        "outcome": "done",
        "sentence": "Ana Ruiz paused payments",
        "reason": "month-end freeze",
        "request_id": "a1b2",
        "address": "10.8.4.21",
        "session": "5c1e0a9b",
        "before": {"workers": 4},
        "after": {"workers": 56},
        "detail": {"until": "06:00"},
        "leaf_hash": hashlib.sha256(b"\0" + leaf).hexdigest(),
    }
    assert leaf == bytes(event.leaf)


def test_filters_narrow(api: Client) -> None:
    at = logged().at
    logged(actor=Actor(kind="user", id="8", name="Bob"), outcome="denied", reason="50 % more")
    assert indexes(api, "") == [2, 1, 0]
    assert indexes(api, "actor=Bob") == indexes(api, "outcome=denied") == indexes(api, "q=50+%25") == [2]
    assert indexes(api, "action=token") == indexes(api, "action=token.created") == [0]
    assert indexes(api, "target=payments") == indexes(api, "pool=payments") == [2, 1]
    since = at.isoformat().replace("+00:00", "Z")
    assert indexes(api, f"since={since}") == [2, 1] and indexes(api, f"until={since}") == [0]


def test_pages_follow_by_cursor(api: Client) -> None:
    for _ in range(4):
        happened()
    Sequencer().tick()
    first = api.get(f"{EVENTS}?limit=3").json()
    assert [item["index"] for item in first["items"]] == [4, 3, 2] and first["next"] == "2"
    second = api.get(f"{EVENTS}?limit=3&cursor={first['next']}").json()
    assert [item["index"] for item in second["items"]] == [1, 0] and second["next"] is None


def test_a_pending_event_is_not_in_the_log_yet(api: Client) -> None:
    happened()
    assert indexes(api, "") == [0] and api.get(f"{EVENTS}/1").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=2026-11-22T02:00:00", "since"),
        ("since=0001-01-01T00:00:00%2B14:00", "since"),
        ("until=9999-12-31T23:59:59-14:00", "until"),
        ("outcome=perhaps", "outcome"),
        ("cursor=x", "cursor"),
        ("cursor=-1", "cursor"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("q=a%00b", "q"),
        ("actor=" + "x" * 501, "actor"),
    ],
)
def test_what_cannot_be_read_is_named(api: Client, query: str, field: str) -> None:
    response = api.get(f"{EVENTS}?{query}")
    assert response.status_code == 422 and response["Content-Type"] == "application/problem+json"
    assert [error["field"].split(".")[-1] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize("index", ["1", "-1", "x", str(2**63), "9" * 40])
def test_an_index_beyond_the_log_is_not_found(api: Client, index: str) -> None:
    assert api.get(f"{EVENTS}/{index}").status_code == 404


def test_a_cursor_beyond_the_integers_is_an_ordinary_start(api: Client) -> None:
    assert indexes(api, "cursor=" + "9" * 30) == [0]


def test_an_event_is_proved(api: Client) -> None:
    for _ in range(6):
        logged()
    assert api.get(f"{EVENTS}/3/proof").status_code == 404
    checkpointed(size=5, witness=True)
    found = api.get(f"{EVENTS}/3/proof").json()
    checkpoint = open_checkpoint(found["checkpoint"].encode(), KEY.verifier)
    assert (found["index"], found["size"], found["root"]) == (3, checkpoint.size, checkpoint.root.hex())
    leaf = leaf_hash(api.get(f"{EVENTS}/3").json()["leaf"].encode())
    assert leaf.hex() == found["leaf_hash"]
    verify_inclusion(3, 5, leaf, [bytes.fromhex(hashed) for hashed in found["proof"]], checkpoint.root)
    assert "witness.example" in found["checkpoint"]
    assert api.get(f"{EVENTS}/5/proof").status_code == api.get(f"{EVENTS}/99/proof").status_code == 404


def test_the_log_only_grew(api: Client) -> None:
    for _ in range(6):
        logged()
    checkpointed(size=6)
    for query, size in (("from=3&to=7", 7), ("from=3", 6)):
        found = api.get(f"/api/v1/audit/consistency?{query}").json()
        assert (found["from"], found["to"]) == (3, size)
        roots = [bytes.fromhex(found[name]) for name in ("from_root", "to_root")]
        verify_consistency(3, size, *roots, [bytes.fromhex(hashed) for hashed in found["proof"]])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "from"),
        ("from=0&to=1", "from"),
        ("from=x", "from"),
        ("from=9", "from"),
        ("from=2&to=1", "to"),
        ("from=1&to=9", "to"),
        ("from=1&to=" + "9" * 30, "to"),
    ],
)
def test_sizes_that_the_log_never_had_are_named(api: Client, query: str, field: str) -> None:
    logged()
    response = api.get(f"/api/v1/audit/consistency?{query}")
    assert response.status_code == 422 and response["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_the_newest_checkpoint(api: Client) -> None:
    assert api.get("/api/v1/audit/checkpoint").status_code == 404
    logged()
    checkpointed(size=1)
    row = checkpointed(witness=True)
    found = api.get("/api/v1/audit/checkpoint").json()
    (cosignature,) = found["cosignatures"]
    assert (found["size"], found["root"], found["note"]) == (2, bytes(row.root).hex(), bytes(row.note).decode())
    assert found["at"].endswith("Z") and cosignature["witness"] == "witness.example"
    whole = (found["note"] + cosignature["line"]).encode()
    assert open_checkpoint(whole, WITNESS.verifier, origin=KEY.name).size == 2


@pytest.mark.parametrize("path", ["events/0/proof", "consistency?from=1", "checkpoint"])
def test_proofs_are_for_readers_of_the_log(outsider: Any, client: Client, path: str) -> None:
    reader = client_of(outsider)
    checkpointed()
    response = reader.get(f"/api/v1/audit/{path}")
    assert response.status_code == 403 and response.json()["permission"] == "audit.view_event"
    assert client.get(f"/api/v1/audit/{path}").status_code == 401
    assert reader.post(f"/api/v1/audit/{path}", content_type="application/json").status_code == 405


def test_the_examples_have_the_fields_of_the_answers() -> None:
    for model in (ProofOut, ConsistencyOut, CheckpointOut):
        (example,) = model.model_config["json_schema_extra"]["examples"]  # type: ignore[index,call-overload]
        model.model_validate(example)
