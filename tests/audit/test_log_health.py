"""What the overview, /readyz and /metrics say when the log is late or not signed."""

import threading
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from audit import conditions
from audit.actor import system_actor
from audit.health import log_health
from audit.models import Leaf
from audit.sequencer import Sequencer
from pools.selectors.overview import overview
from tests.audit.cast import happened
from tests.support.waiting import wait_for


def titles() -> list[str]:
    return [item.title for item in overview(system_actor("controller")).urgent]


def problems() -> list[str]:
    problems: list[str] = Client().get("/readyz").json()["problems"]
    return problems


@pytest.fixture
def impatient(settings: Any) -> None:
    settings.POOLWARDEN_LOG_LAG_SECONDS = 1


@pytest.mark.django_db
def test_all_is_well() -> None:
    happened()
    Sequencer().tick()
    health = log_health()
    assert (health.lag, health.is_late, health.unsigned) == (0, False, "")
    assert "poolwarden_audit_signing 1.0" in Client().get("/metrics").content.decode()


@pytest.mark.django_db
def test_an_event_that_waits_for_its_place_is_an_alert(impatient: None) -> None:
    happened()
    wait_for(lambda: log_health().is_late)
    assert "The audit log is late" in titles()
    assert any("the audit log is" in problem and "late" in problem for problem in problems())
    assert "poolwarden_audit_lag_seconds 0.0" not in Client().get("/metrics").content.decode()
    Sequencer().tick()
    assert log_health().lag == 0 and "The audit log is late" not in titles()


@pytest.mark.django_db
def test_a_log_that_is_not_signed_is_an_alert() -> None:
    conditions.report(conditions.SIGNING, good=False, detail="It was rewritten.")
    assert "The audit log is not signed any more" in titles()
    assert "the audit log is not signed any more" in problems()
    assert "poolwarden_audit_signing 0.0" in Client().get("/metrics").content.decode()


@pytest.mark.postgresql  # SQLite has one writer: while it holds on, nobody else can write and nothing is passed by
@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_stays_open_is_an_alert_and_loses_nothing(impatient: None) -> None:
    recorded, end = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                happened(reason="slow")
                recorded.set()
                assert end.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert recorded.wait(30)
    with transaction.atomic():
        happened(reason="quick")
    Sequencer().tick()
    wait_for(lambda: log_health().is_late)
    assert log_health().pending == 0, "the others went on"
    assert "The audit log is late" in titles()
    end.set()
    thread.join()
    Sequencer().tick()
    assert not log_health().is_late
    assert list(Leaf.objects.order_by("index").values_list("event__reason", flat=True)) == ["quick", "slow"]
