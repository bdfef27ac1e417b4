import json
from typing import Any

import pytest
from django.conf import settings

from audit.models import Event
from pools.models import ConfigVersion, OutboxMessage, Pool, PoolNow
from pools.spec import parse_spec
from tests.api.calling import Caller, problem
from tests.support import factories as make
from tests.support.cast import Cast

SPEC = make.SPEC
GATEWAY = {"name": "gateway", "tasks": ["shop.charge*"], "passed": 0, "probing": 0}
EACH = {"name": "each", "tasks": ["b.*"], "per_second": 0, "burst": 1, "concurrency": 2}


def new_pool(**changes: Any) -> dict[str, Any]:
    body = {"slug": "ledger", "environment": settings.POOLWARDEN_ENV, "team": "payments"}
    return body | {"spec": SPEC | {"queues": ["ledger"]}} | changes


def test_a_list_shows_what_the_caller_sees(alice: Caller, charlie: Caller, payments: Pool, refunds: Pool) -> None:
    assert [pool["slug"] for pool in alice.items("pools")] == ["payments"]
    assert [pool["slug"] for pool in charlie.items("pools")] == ["refunds"]


def test_a_pool_is_given_whole(alice: Caller, payments: Pool) -> None:
    found = alice.get("pools/payments").json()
    figures = found.pop("figures")
    assert found == {
        "slug": "payments",
        "uid": str(payments.uid),
        "name": "payments",
        "kind": "managed",
        "environment": settings.POOLWARDEN_ENV,
        "team": "payments",
        "broker": "default",
        "description": "",
        "runbook_url": "",
        "criticality": "standard",
        "approval_limit": None,
        "approved_above": None,
        "poison_after": 3,
        "searchable_arguments": [],
        "queues": ["payments", "payments.high"],
        "run_state": "running",
        "generation": 0,
        "revision": 1,
        "config_version": 2,
        "published_version": 2,
    }
    assert figures.pop("sampled_at").endswith("Z")
    assert figures["waiting"] == 12 and figures["busy"] == 3 and figures["oldest_enqueued_at"] is None


def test_a_pool_without_a_sample_has_no_figures(alice: Caller, cast: Cast) -> None:
    make.pool(cast.payments)
    assert alice.get("pools/payments").json()["figures"] is None


def test_what_jobs_may_wait_for(alice: Caller, cast: Cast) -> None:
    pool = make.pool(cast.payments, "mail", versions=0, published_number=1, now={"workers": 1})
    limits = [{"name": "each", "tasks": ["b.*"], "concurrency": 2, "by": "tenant"}]
    make.config_version(
        pool, 1, make.spec(queues=["mail"], limits=limits, policies=[{"task": "*", "schema_versions": [3]}])
    )
    assert alice.get("pools/mail/gates").json() == {
        "breakers": [GATEWAY | {"state": "closed", "since": None, "failures": 0, "probes_in": None}],
        "limits": [EACH | {"running": 0, "used": 0}],
        "unknown": [],
    }
    since, long_ago = make.ago(seconds=10), make.ago(minutes=5)
    told = {"state": "open", "since": int(since.timestamp()), "passed": 0, "failures": 0, "probing": 0, "generation": 0}
    unknown = {"task": "shop.charge", "version": "4", "jobs": 12, "since": int(long_ago.timestamp())}
    gates = {"breakers": {"gateway": told}, "limits": {"each": {"running": 5, "used": 0}}, "unknown": [unknown]}
    PoolNow.objects.filter(pool=pool).update(gates=gates)
    found = alice.get("pools/mail/gates").json()
    assert 10 <= found["breakers"][0].pop("probes_in") <= 30
    assert found["breakers"] == [
        GATEWAY | {"state": "open", "since": f"{since:%Y-%m-%dT%H:%M:%S.000000Z}", "failures": 0}
    ]
    assert found["limits"] == [EACH | {"running": 5, "used": 0}]
    assert found["unknown"] == [unknown | {"since": f"{long_ago:%Y-%m-%dT%H:%M:%S.000000Z}"}]


@pytest.mark.parametrize(
    "path", ["pools/refunds", "pools/refunds/gates", "pools/nothing", "pools/refunds/config", "pools/refunds/config/1"]
)
def test_what_is_hidden_and_what_is_missing_look_alike(alice: Caller, refunds: Pool, path: str) -> None:
    assert problem(alice.get(path), 404) == {"type": "about:blank", "title": "Not found", "status": 404}


def test_a_pool_is_made(alice: Caller, cast: Cast) -> None:
    response = alice.post("pools", new_pool(name="Ledger", criticality="critical", message="For the audit"))
    assert response.status_code == 201, response.content
    made = response.json()
    assert made["slug"] == "ledger" and made["config_version"] == 1 and made["published_version"] == 0
    assert made == alice.get("pools/ledger").json()
    version = ConfigVersion.objects.get(pool__slug="ledger")
    assert version.message == "For the audit" and version.author_name == "alice (token)"
    assert Caller(cast.vera).get("pools/ledger").status_code == 200
    assert Caller(cast.charlie).get("pools/ledger").status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": "has space"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"slug": "payments"}, "slug"),
        ({"slug": "x" * 61}, "slug"),
        ({"environment": "moon"}, "environment"),
        ({"team": "elsewhere"}, "team"),
        ({"team": "nowhere"}, "team"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"description": "x" * 2001}, "description"),
        ({"runbook_url": "javascript:alert(1)"}, "runbook_url"),
        ({"criticality": "absurd"}, "criticality"),
        ({"message": "x" * 2001}, "message"),
        ({"spec": SPEC}, "spec.queues"),
        ({"spec": []}, "spec"),
        ({"workers": 5}, "workers"),
    ],
)
def test_a_pool_that_cannot_be(alice: Caller, payments: Pool, changes: dict[str, Any], field: str) -> None:
    problem(alice.post("pools", new_pool(**changes)), 422, field)
    assert Pool.objects.count() == 1


# One bad value for each field of the spec.
BAD_SPEC: list[tuple[str, Any]] = [
    ("queues", []),
    ("workers", -1),
    ("job_timeout", 0),
    ("result_ttl", "long"),
    ("failure_ttl", 59),
    ("serializer", "yaml"),
    ("stop_grace", 3601),
    ("placement", {"disk": 5}),
    ("application", {"interpreter": "relative/python"}),
    ("environment", ["A B"]),
    ("secrets", ["nobody.registered.it"]),
    ("retry", [{"task": "*", "max": 101}]),
    ("horse", {"jobs": 1001}),
    ("isolation", {"profile": "jail"}),
    ("weights", {"nobody.takes.it": 2}),
    ("breakers", [{"name": "smtp", "tasks": []}]),
    ("limits", [{"name": "api", "tasks": ["*"]}]),
    ("retry_budget", {"percent": 101}),
    ("policies", [{"task": "*", "delivery": "exactly_once"}]),
    ("admission", {"job_kib": 0}),
    ("cron", [{"name": "report", "task": "shop.report", "schedule": "soon"}]),
    ("colour", "blue"),
]


def test_every_field_of_the_spec_has_its_bad_value() -> None:
    assert {name for name, _ in BAD_SPEC} == {*parse_spec(SPEC).as_dict(), "colour"}


@pytest.mark.parametrize(("name", "value"), BAD_SPEC)
def test_each_field_of_a_bad_spec_is_named(alice: Caller, payments: Pool, name: str, value: Any) -> None:
    body = {"spec": SPEC | {name: value}, "message": "Try", "expected_version": 2}
    response = alice.post("pools/payments/config", body)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"].startswith(f"spec.{name}") and error["message"]
    assert ConfigVersion.objects.count() == 2


def test_a_version_is_published(alice: Caller, payments: Pool) -> None:
    body = {"spec": SPEC | {"workers": 9}, "message": "Month-end", "expected_version": 2}
    response = alice.post("pools/payments/config", body)
    assert response.status_code == 201, response.content
    made = response.json()
    assert made["version"] == 3 and made["state"] == "approved" and made["author"] == "alice (token)"
    assert made["message"] == "Month-end" and made["created_at"].endswith("Z") and made["signed_at"] is None
    shown = alice.get("pools/payments/config/3").json()
    assert shown["spec"]["workers"] == 9 and shown["envelope"] is None
    assert {name: shown[name] for name in made} == made
    assert OutboxMessage.objects.get().key == "payments:3"


def test_versions_are_listed_and_shown_with_their_envelope(alice: Caller, payments: Pool) -> None:
    assert [(row["version"], row["state"]) for row in alice.items("pools/payments/config")] == [
        (2, "published"),
        (1, "superseded"),
    ]
    shown = alice.get("pools/payments/config/1").json()
    assert json.loads(shown["envelope"])["payloadType"] == "application/vnd.poolwarden.config+json"
    assert shown["spec"]["workers"] == 4 and shown["payload_sha256"] == f"{1:064x}"
    for number in (0, 3, 10**30):
        problem(alice.get(f"pools/payments/config/{number}"), 404)


def test_a_stale_version_is_a_conflict(alice: Caller, payments: Pool) -> None:
    body = {"spec": SPEC | {"workers": 9}, "message": "Month-end", "expected_version": 1}
    assert problem(alice.post("pools/payments/config", body), 409)["current"] == 2
    assert ConfigVersion.objects.count() == 2


def test_what_runs_already_is_no_new_version(alice: Caller, payments: Pool) -> None:
    body = {"spec": SPEC | {"workers": 5}, "message": "Again", "expected_version": 2}
    assert "v2" in problem(alice.post("pools/payments/config", body), 409)["detail"]


def test_the_number_of_workers_is_changed(alice: Caller, payments: Pool) -> None:
    body = {"workers": 8, "reason": "Month-end", "expected_version": 2}
    assert alice.post("pools/payments/scale", body).json()["version"] == 3
    assert problem(alice.post("pools/payments/scale", body | {"workers": 9}), 409)["current"] == 3
    for workers in (-1, 513, 10**30, 8):
        problem(alice.post("pools/payments/scale", {"workers": workers, "reason": "More"}), 422, "workers")
    assert alice.get("pools/payments/config/3").json()["spec"]["workers"] == 8


def test_a_pool_is_paused_drained_and_resumed(alice: Caller, payments: Pool) -> None:
    for generation, (verb, state) in enumerate(
        {"pause": "paused", "drain": "draining", "resume": "running"}.items(), 1
    ):
        answer = alice.post(f"pools/payments/{verb}", {"reason": "The gateway is down"})
        assert answer.status_code == 200, answer.content
        command = answer.json()
        assert command["generation"] == generation and command["state"] == state
        assert command["issued_at"].endswith("Z") and command["acknowledged_at"] is None
        assert alice.get("pools/payments").json()["run_state"] == state
    assert [message.key for message in OutboxMessage.objects.order_by("pk")] == [f"payments:{n}" for n in (1, 2, 3)]


def test_a_pool_is_not_paused_twice(alice: Caller, payments: Pool) -> None:
    alice.post("pools/payments/pause", {"reason": "Down"})
    assert "paused already" in problem(alice.post("pools/payments/pause", {"reason": "Down"}), 409)["detail"]
    stale = {"reason": "Down", "expected_version": 0}
    assert problem(alice.post("pools/payments/drain", stale), 409)["current"] == 1
    assert Event.objects.filter(action__in=["pool.paused", "pool.drained"]).count() == 1


def test_searchable_arguments_are_changed_and_wrong_ones_named(alice: Caller, payments: Pool) -> None:
    changed = alice.post("pools/payments/edit", {"searchable_arguments": ["user.id", "0"]})
    assert changed.status_code == 200 and changed.json()["searchable_arguments"] == ["user.id", "0"]
    same = alice.post("pools/payments/edit", {"poison_after": 5})
    assert same.json()["searchable_arguments"] == ["user.id", "0"]
    refused = alice.post("pools/payments/edit", {"searchable_arguments": ["a..b"]})
    (error,) = problem(refused, 422, "searchable_arguments")["errors"]
    assert "is no path" in error["message"]
