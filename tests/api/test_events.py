"""The API leaves the same events as the operation that a page calls."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from audit.models import Event
from audit.selectors import personal_values
from controlplane.models import ApiToken
from pools import operations as verbs
from pools.models import DeadLetter, Operation, Pool, Team
from pools.operations import Selection
from tests.api.calling import Caller, events
from tests.support import factories as make
from tests.support.cast import Cast, actor

WHY: dict[str, Any] = {"reason": "The gateway is down"}
NEW = {"slug": "ledger", "name": "Ledger", "environment": settings.POOLWARDEN_ENV, "message": "New"}
LEDGER = make.SPEC | {"queues": ["ledger"]}
PAYMENTS = make.SPEC | {"workers": 9}

# Route, body, and the operation that does the same.
SAME: dict[str, tuple[str, dict[str, Any], Callable[..., Any]]] = {
    "create": (
        "pools",
        NEW | {"team": "payments", "spec": LEDGER},
        lambda a, p: verbs.pool_create(
            actor=a, team=Team.objects.get(slug="payments"), spec=make.spec(**LEDGER), **NEW
        ),
    ),
    "pause": ("pools/payments/pause", WHY, lambda a, p: verbs.pool_pause(actor=a, pool=p, **WHY)),
    "drain": ("pools/payments/drain", WHY, lambda a, p: verbs.pool_drain(actor=a, pool=p, **WHY)),
    "scale": (
        "pools/payments/scale",
        WHY | {"workers": 9},
        lambda a, p: verbs.pool_scale(actor=a, pool=p, workers=9, **WHY),
    ),
    "publish": (
        "pools/payments/config",
        {"spec": PAYMENTS, "message": "More", "expected_version": 2},
        lambda a, p: verbs.config_publish(
            actor=a, pool=p, spec=make.spec(**PAYMENTS), message="More", expected_version=2
        ),
    ),
    "requeue": (
        "operations",
        WHY | {"kind": "requeue", "ids": ["job-1"]},
        lambda a, p: verbs.requeue_create(actor=a, selection=chosen(), **WHY),
    ),
    "discard": (
        "operations",
        WHY | {"kind": "discard", "ids": ["job-1"], "start": False},
        lambda a, p: verbs.discard_create(actor=a, selection=chosen(), start=False, **WHY),
    ),
    "start": (
        "operations/{id}/start",
        WHY,
        lambda a, p: verbs.operation_start(actor=a, operation=Operation.objects.get(), **WHY),
    ),
    "cancel": (
        "operations/{id}/cancel",
        WHY,
        lambda a, p: verbs.operation_cancel(actor=a, operation=Operation.objects.get(), **WHY),
    ),
}


def chosen() -> Selection:
    return Selection(ids=(DeadLetter.objects.get(job_id="job-1").pk,))


def events_of(act: Callable[[], Any]) -> list[dict[str, Any]]:
    """What ``act`` records; everything it did is taken back."""
    before = Event.objects.count()
    with transaction.atomic():
        act()
        found = events(Event.objects.count() - before)
        transaction.set_rollback(True)
    return found


@pytest.mark.parametrize("name", SAME)
def test_the_same_events(alice: Caller, cast: Cast, payments: Pool, frozen: Operation, name: str) -> None:
    path, body, operation = SAME[name]
    by_page = events_of(lambda: operation(actor(cast.alice), payments))
    by_token = events_of(lambda: alice.post(path.format(id=frozen.pk), body))
    assert by_page and by_token == by_page


def test_an_event_says_that_it_was_by_token(alice: Caller, cast: Cast, payments: Pool) -> None:
    response = alice.post("pools/payments/pause", WHY)
    event = Event.objects.order_by("-pk")[0]
    assert (event.actor_kind, event.actor_name, *personal_values(event).values()) == ("token", "alice", "127.0.0.1")
    assert event.request_id == response["X-Request-ID"]
    assert ApiToken.objects.get(pk=event.actor_id).user == cast.alice
