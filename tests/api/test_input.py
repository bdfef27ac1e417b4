"""What a request may get wrong before an operation hears of it."""

import json
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.testing import TestClient

from pools.api.problems import install_problems
from pools.models import DeadLetter, Operation, Pool, RunCommand
from tests.api.calling import Caller, problem
from tests.support import factories as make

PAUSE = "pools/payments/pause"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["reason"]),
        ({"reason": None}, ["reason"]),
        ({"reason": 5}, ["reason"]),
        ({"reason": ["a"]}, ["reason"]),
        ({"reason": ""}, ["reason"]),
        ({"reason": " \n "}, ["reason"]),
        ({"reason": "x" * 2001}, ["reason"]),
        ({"reason": "a\0b"}, ["reason"]),
        ({"reason": "a", "expected_version": "0"}, ["expected_version"]),
        ({"reason": "a", "expected_version": True}, ["expected_version"]),
        ({"reason": "a", "expected_version": 1.5}, ["expected_version"]),
        ({"reason": "a", "expected_version": -1}, ["expected_version"]),
        ({"reason": "a", "force": True}, ["force"]),
        ({"raison": "a"}, ["reason", "raison"]),
        ([], [""]),
        ("reason", [""]),
        (5, [""]),
    ],
)
def test_a_bad_field_is_named(alice: Caller, payments: Pool, body: Any, fields: list[str]) -> None:
    problem(alice.post(PAUSE, body), 422, *fields)
    assert not RunCommand.objects.exists()


def test_half_a_character_is_no_text(alice: Caller, payments: Pool) -> None:
    problem(alice.post(PAUSE, rb'{"reason": "\ud800"}'), 422, "reason")


def test_a_missing_body_is_named(alice: Caller, payments: Pool) -> None:
    problem(alice.post(PAUSE), 422, "")


@pytest.mark.parametrize("body", [b"{", b"reason=a", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b"\x00"])
def test_what_is_not_json(alice: Caller, payments: Pool, body: bytes) -> None:
    assert "not JSON" in problem(alice.post(PAUSE, body), 400)["detail"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_another_content_type(alice: Caller, payments: Pool, kind: str) -> None:
    problem(alice.post(PAUSE, {"reason": "a"}, content_type=kind), 415)
    assert not RunCommand.objects.exists()


def test_a_charset_may_be_named(alice: Caller, payments: Pool) -> None:
    response = alice.post(PAUSE, {"reason": "a"}, content_type="application/json; charset=utf-8")
    assert response.status_code == 200


def test_a_huge_reason_is_too_large(alice: Caller, payments: Pool) -> None:
    problem(alice.post(PAUSE, {"reason": "x" * 9_000_000}), 413)
    problem(alice.post(PAUSE, {"reason": "x" * 5_000_000}), 422, "reason")
    assert not RunCommand.objects.exists()


def test_a_huge_field_name_is_cut(alice: Caller, payments: Pool) -> None:
    response = alice.post(PAUSE, {"reason": "a", "x" * 500_000: 1})
    assert response.status_code == 422 and len(response.content) < 1000


@pytest.mark.parametrize(
    "reason", ["<script>alert(1)</script>", "'; DROP TABLE pools_pool; --", "{{ 7*7 }}", "☃ ß \u202e"]
)
def test_a_reason_is_kept_as_it_was_typed(alice: Caller, payments: Pool, reason: str) -> None:
    assert alice.post(PAUSE, {"reason": reason}).status_code == 200
    assert RunCommand.objects.get().reason == reason


def test_a_config_that_the_log_cannot_hold_is_refused(alice: Caller, payments: Pool) -> None:
    names = [f"package.Error{n}{'x' * 150}" for n in range(60)]
    rules = [{"task": f"task{n}", "transient": names} for n in range(20)]
    body = {"spec": make.SPEC | {"retry": rules}, "message": "a", "expected_version": 2}
    assert "the log holds 65,536" in problem(alice.post("pools/payments/config", body), 422)["detail"]
    assert payments.config_versions.count() == 2


@pytest.mark.parametrize(
    "path",
    ["", "nothing", "pools/", "pools/payments/", "pools/payments/explode", "pools/a b", "pools/%00", "operations/one",
     "operations/-1", f"operations/{10**30}", "operations/1/explode", "agents/1", "../pools", "docs/x"],
)  # fmt: skip
def test_an_unknown_address_is_a_problem(alice: Caller, payments: Pool, path: str) -> None:
    problem(alice.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("delete", "pools/payments", "GET"),
        ("put", "pools/payments/config", "GET, POST"),
        ("get", PAUSE, "POST"),
        ("patch", "operations", "GET, POST"),
        ("post", "agents", "GET"),
        ("post", "docs", "GET, HEAD"),
        ("post", "openapi.json", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_problem(alice: Caller, payments: Pool, method: str, path: str, allow: str) -> None:
    response = getattr(alice.client, method)(f"/api/v1/{path}")
    problem(response, 405)
    assert {*response["Allow"].split(", ")} == {*allow.split(", ")}


CANARY = {"count": 5, "min_success": 95}


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        ({"rate_per_second": 0}, "rate_per_second"),
        ({"rate_per_second": 100_001}, "rate_per_second"),
        ({"rate_per_second": "5"}, "rate_per_second"),
        ({"rate_per_second": 0.5}, "rate_per_second"),
        ({"canary": 5}, "canary"),
        ({"canary": {"count": 5}}, "canary.min_success"),
        ({"canary": CANARY | {"count": 0}}, "canary.count"),
        ({"canary": CANARY | {"min_success": 101}}, "canary.min_success"),
        ({"canary": CANARY | {"timeout": 5}}, "canary.timeout"),
        ({"canary": CANARY | {"why": 5}}, "canary.why"),
        ({"stop_same_failure": 0}, "stop_same_failure"),
        ({"stop_same_failure": 100}, "stop_same_failure"),
        ({"kind": "discard", "canary": CANARY}, "canary"),
        ({"kind": "discard", "stop_same_failure": 5}, "stop_same_failure"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_name(
    alice: Caller, letters: list[DeadLetter], plan: dict[str, Any], field: str
) -> None:
    problem(alice.post("operations", {"kind": "requeue", "ids": ["job-0"], "reason": "a"} | plan), 422, field)
    assert not Operation.objects.exists()


def test_a_defect_is_a_problem_without_a_traceback() -> None:
    broken = NinjaAPI(urls_namespace="broken")
    install_problems(broken)

    @broken.get("/")
    def break_it(request: HttpRequest) -> HttpResponse:
        raise ZeroDivisionError("secret detail")

    response = TestClient(broken).get("/")
    assert response.status_code == 500 and response["Content-Type"] == "application/problem+json"
    assert b"secret" not in response.content and json.loads(response.content)["title"] == "Internal error"
