"""Who may call what: every operation of the OpenAPI document is a read, or is in ``WRITES``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from audit.models import Event
from controlplane.api import api
from pools.models import (
    Approval,
    ConfigVersion,
    DeadLetter,
    FailureGroup,
    GroupNote,
    NotificationChannel,
    NotificationDelivery,
    Operation,
    OperationItem,
    OutboxMessage,
    PayloadReveal,
    Pool,
    RunCommand,
)
from tests.api.calling import BASE, Caller, problem
from tests.support import factories as make
from tests.support.cast import Cast


@dataclass(frozen=True)
class Write:
    """A POST route with a good body. ``refused``: who sees the pool and lacks ``permission``."""

    path: str
    body: dict[str, Any]
    permission: str
    action: str
    refused: str = "vera"
    state: str = ""
    target: str = field(default="pool")


WHY = {"reason": "Because"}
NEW = {"slug": "ledger", "environment": settings.POOLWARDEN_ENV, "team": "payments"}
HOOK = {"kind": "webhook", "url": "https://hooks.example/new"}
WRITES = {
    "create_pool": Write(
        "pools",
        NEW | {"spec": make.SPEC | {"queues": ["ledger"]}},
        "pools.add_pool",
        "pool.created",
        "bob",
        target="site",
    ),
    "publish_config": Write(
        "pools/payments/config",
        {"spec": make.SPEC, "message": "Because", "expected_version": 2},
        "change_config",
        "config.published",
        "bob",
    ),
    "change_pool": Write("pools/payments/edit", {"name": "New"}, "change_config", "pool.changed", "bob"),
    "scale_pool": Write("pools/payments/scale", {"workers": 9} | WHY, "scale_pool", "pool.scaled", "bob"),
    "pause_pool": Write("pools/payments/pause", WHY, "control_pool", "pool.paused"),
    "resume_pool": Write("pools/payments/resume", WHY, "control_pool", "pool.resumed"),
    "drain_pool": Write("pools/payments/drain", WHY, "control_pool", "pool.drained"),
    "open_breaker": Write("pools/payments/breakers/gateway/open", WHY, "control_pool", "breaker.opened"),
    "close_breaker": Write("pools/payments/breakers/gateway/close", WHY, "control_pool", "breaker.closed"),
    "reveal_payload": Write("jobs/job-0/reveal", WHY, "reveal_payload", "payload.revealed", target="job"),
    "edit_payload": Write(
        "jobs/job-0/edit",
        {"args": [], "kwargs": {}, "seen": "0" * 64} | WHY,
        "requeue_dead_letters",
        "operation.edit_started",
        target="job",
    ),
    "create_operation": Write(
        "operations",
        {"kind": "requeue", "ids": ["job-0"]} | WHY,
        "requeue_dead_letters",
        "operation.requeue_started",
    ),
    "start_operation": Write("operations/{id}/start", WHY, "requeue_dead_letters", "operation.started", state="frozen"),
    "pause_operation": Write("operations/{id}/pause", WHY, "requeue_dead_letters", "operation.paused", state="running"),
    "resume_operation": Write(
        "operations/{id}/resume", WHY, "requeue_dead_letters", "operation.resumed", state="paused"
    ),
    "approve_operation": Write(
        "operations/{id}/approve", WHY, "approve_operations", "operation.approved", state="awaiting"
    ),
    "decline_operation": Write(
        "operations/{id}/decline", WHY, "approve_operations", "operation.declined", state="awaiting"
    ),
    "cancel_operation": Write(
        "operations/{id}/cancel", WHY, "requeue_dead_letters", "operation.cancelled", state="running"
    ),
    **{
        name: Write(
            f"failure-groups/{{id}}/{verb}", body, "requeue_dead_letters", f"failure_group.{event}", state="group"
        )
        for name, verb, body, event in (
            ("acknowledge_group", "acknowledge", WHY, "acknowledged"),
            ("snooze_group", "snooze", WHY | {"failures": 10}, "snoozed"),
            ("unsnooze_group", "unsnooze", WHY, "unsnoozed"),
            ("resolve_group", "resolve", WHY, "resolved"),
            ("reopen_group", "reopen", WHY, "reopened"),
            ("assign_group", "assign", WHY | {"owner": "bob"}, "assigned"),
            ("add_note", "notes", {"text": "Because"}, "noted"),
            ("set_runbook", "runbook", WHY | {"url": "https://runbooks.example/"}, "runbook_set"),
        )
    },
    **{
        f"{verb}_notification_channel": Write(
            path, body, "pools.change_notificationchannel", f"notification.{event}", "bob", target="site"
        )
        for verb, path, body, event in (
            ("create", "notification-channels", {"name": "hook", "team": "payments"} | HOOK, "channel_created"),
            ("change", "notification-channels/oncall", HOOK, "channel_changed"),
            ("remove", "notification-channels/oncall/remove", WHY, "channel_removed"),
            ("test", "notification-channels/oncall/test", {}, "test_requested"),
        )
    },
    "change_rate": Write(
        "operations/{id}/rate",
        WHY | {"rate_per_second": 5},
        "requeue_dead_letters",
        "operation.rate_changed",
        state="running",
    ),
    "recall_operation": Write(
        "operations/{id}/recall", WHY, "requeue_dead_letters", "operation.recall_started", state="running"
    ),
    "undo_operation": Write(
        "operations/{id}/undo", WHY, "requeue_dead_letters", "operation.restore_started", state="running"
    ),
    "do_again": Write(
        "operations/{id}/again", WHY, "requeue_dead_letters", "operation.requeue_started", state="running"
    ),
}
# Whoever sees a pool at all has views of their own: test_saved_views.
OWN = {"save_view", "rename_view", "remove_view", "set_default_view"}
# Hidden things are missing, not forbidden. These name what they touch in the body, where it is an input error.
BY_BODY = {"create_pool": "team", "create_operation": "ids", "create_notification_channel": "team"}


def operations_of_the_document() -> dict[str, tuple[str, str]]:
    """operationId → (method, path below the base)."""
    return {
        entry["operationId"]: (method, path.removeprefix(BASE))
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method, entry in methods.items()
    }


@pytest.fixture(params=WRITES)
def write(
    request: pytest.FixtureRequest, letters: list[DeadLetter], operation_in: Callable[[str], Operation]
) -> tuple[str, Write, str]:
    """A route's id, the route, and its path with the id of an operation that is in the right state, or of a group."""
    route = WRITES[request.param]
    make.channel(letters[0].pool.team)
    if route.state == "group":
        number = letters[0].group_id
    else:
        number = operation_in(route.state).pk if route.state else 0
    return request.param, route, route.path.format(id=number)


def everything() -> list[Any]:
    """Whatever a write through the API could change."""
    return [list(model.objects.order_by("pk").values()) for model in MODELS]


MODELS = (
    *(Approval, Pool, ConfigVersion, RunCommand, Operation, OperationItem),
    *(DeadLetter, FailureGroup, GroupNote, OutboxMessage, PayloadReveal),
    *(NotificationChannel, NotificationDelivery),
)


def test_every_write_of_the_document_is_here() -> None:
    posts = {name for name, (method, _) in operations_of_the_document().items() if method == "post"}
    assert posts == set(WRITES) | OWN
    assert {method for method, _ in operations_of_the_document().values()} == {"get", "post"}


def test_without_a_token_nothing_is_answered(cast: Cast, subtests: pytest.Subtests) -> None:
    nobody = Caller()
    nobody.client.force_login(cast.alice)
    for name, (method, path) in operations_of_the_document().items():
        with subtests.test(name):
            path = path.format(slug="payments", id=1, number=1, index=0, job_id="job-0", name="oncall", breaker="x")
            response = nobody.get(path) if method == "get" else nobody.post(path, WHY)
            problem(response, 401)
            assert response["WWW-Authenticate"] == "Bearer"


def test_a_write_without_a_token_changes_nothing(write: tuple[str, Write, str]) -> None:
    _, route, path = write
    before = everything()
    problem(Caller().post(path, route.body), 401)
    assert everything() == before


def test_an_outsider_finds_nothing(cast: Cast, write: tuple[str, Write, str]) -> None:
    name, route, path = write
    charlie, before, logged = Caller(cast.charlie), everything(), Event.objects.count()
    response = charlie.post(path, route.body)
    problem(response, 422, BY_BODY[name]) if name in BY_BODY else problem(response, 404)
    assert everything() == before and Event.objects.count() == logged


def test_the_wrong_role_is_refused_and_recorded(cast: Cast, write: tuple[str, Write, str]) -> None:
    _, route, path = write
    caller, before, logged = Caller(getattr(cast, route.refused)), everything(), Event.objects.count()
    refused = problem(caller.post(path, route.body), 403)
    assert refused["permission"] == route.permission and "ada can grant it" in refused["detail"]
    assert everything() == before
    event = Event.objects.order_by("-pk")[0]
    assert Event.objects.count() == logged + 1
    assert (event.action, event.outcome, event.target_kind) == (route.action, "denied", route.target)
    assert (event.actor_kind, event.actor_name) == ("token", route.refused)
    assert event.detail == {"permission": route.permission} and event.reason in ("Because", "")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer pw_wrong", "Basic YTpi", "Bearer x\u00ff", "pw_"])
def test_a_header_that_is_no_token(cast: Cast, header: str) -> None:
    problem(Client(headers={"Authorization": header}).get(f"{BASE}pools"), 401)


def test_an_expired_token_is_none(cast: Cast) -> None:
    problem(Caller(cast.alice, ttl=timedelta(seconds=-1)).get("pools"), 401)


def test_an_inactive_account_has_no_token(cast: Cast, alice: Caller) -> None:
    assert alice.get("pools").status_code == 200
    cast.alice.is_active = False
    cast.alice.save()
    problem(alice.get("pools"), 401)
