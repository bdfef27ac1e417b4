"""What machines ask: liveness, readiness, metrics."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from pools.models import BrokerState, ControllerLease

pytestmark = pytest.mark.django_db


def test_healthz_asks_nobody(client: Client, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_readyz_names_what_is_missing(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["database"] is True
    assert "no controller holds the lease" in response.json()["problems"]


def test_readyz_is_ready_with_a_leader_and_a_fresh_sample(client: Client) -> None:
    now = timezone.now()
    ControllerLease.objects.all().delete()
    ControllerLease.objects.create(holder="c1", expires_at=now + timedelta(seconds=6), acquired_at=now)
    state = BrokerState.objects.create(alias="default", reachable=True, sampled_at=now)
    response = client.get("/readyz")
    assert response.status_code == 200, response.content
    assert response.json()["redis"] is True
    state.reachable, state.error = False, "connection refused"
    state.save()
    assert client.get("/readyz").status_code == 503


def test_metrics_are_prometheus_text(client: Client) -> None:
    BrokerState.objects.create(alias="default", reachable=True, sampled_at=timezone.now())
    response = client.get("/metrics")
    assert response.status_code == 200
    assert b'poolwarden_broker_up{broker="default"} 1.0' in response.content
    assert b"poolwarden_ready 0.0" in response.content
