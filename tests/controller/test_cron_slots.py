"""What agents report of cron slots, and how far their jobs came."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from pools.broker.connection import Broker
from pools.controller.cron_slots import CronEnds, sweep_slots
from pools.controller.ingester import Ingester
from pools.controller.lease import LeaderLease, LeaseLost
from pools.models import ControllerLease, CronSlot, Pool, Team
from tests.support import factories

pytestmark = pytest.mark.django_db
SLOT = 1_800_000_000


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def pool(team: Team) -> Pool:
    return factories.pool(team, "mail", queues=["mail"])


@pytest.fixture
def ingester(lease: LeaderLease, broker: Broker, pool: Pool) -> Ingester:
    factories.agent("pay-01")
    return Ingester(lease)


def report(client: redis.Redis, pool: Pool, **changes: Any) -> None:
    body = {"at": time.time(), "agent": "pay-01", "host": "h", "pool_uid": str(pool.uid), "name": "report"}
    body |= {"slot": SLOT, "outcome": "enqueued", "job_id": "cron-report-1", "queue": "mail", "config": 1} | changes
    client.xadd("pw:events", {"type": "cron.slot", "body": json.dumps(body)})


def slot(pool: Pool, **changes: Any) -> CronSlot:
    base = {"name": "report", "slot_at": timezone.now(), "outcome": "enqueued", "job_id": "j", "queue": "mail"}
    return CronSlot.objects.create(pool=pool, **base | {"reported_at": timezone.now()} | changes)


def test_a_report_becomes_a_row_once(ingester: Ingester, client: redis.Redis, pool: Pool) -> None:
    report(client, pool)
    report(client, pool)
    report(client, pool, slot=SLOT + 60, outcome="skipped")
    ingester.tick()
    skipped, made = CronSlot.objects.all()
    assert (made.name, made.slot_at, made.outcome) == ("report", datetime.fromtimestamp(SLOT, UTC), "enqueued")
    assert (made.job_id, made.queue, made.agent, made.config_number) == ("cron-report-1", "mail", "pay-01", 1)
    assert (skipped.outcome, skipped.job_id) == ("skipped", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"pool_uid": "nobody"},
        {"slot": -1},
        {"slot": 10**15},
        {"slot": "soon"},
        {"outcome": "stolen"},
        {"name": ""},
        {"name": "x" * 64},
        {"name": "a\x00b"},
        {"config": 2**40},
    ],
    ids=str,
)
def test_reports_that_make_no_sense_are_passed_over(
    ingester: Ingester, client: redis.Redis, pool: Pool, changes: dict[str, Any]
) -> None:
    report(client, pool, **changes)
    report(client, pool, name="good")
    ingester.tick()
    assert [made.name for made in CronSlot.objects.all()] == ["good"]


@pytest.mark.parametrize(
    ("before", "status", "after"),
    [
        ("", "queued", ""),
        ("", "scheduled", ""),
        ("", "started", "running"),
        ("", "finished", "succeeded"),
        ("running", "finished", "succeeded"),
        ("running", "failed", "failed"),
        ("", "canceled", "unknown"),
        ("", None, "unknown"),
        ("running", None, "succeeded"),
    ],
)
def test_an_end_is_read_from_the_jobs_record(
    lease: LeaderLease, client: redis.Redis, pool: Pool, before: str, status: str | None, after: str
) -> None:
    made = slot(pool, end=before)
    if status:
        client.hset("rq:job:j", "status", status)
    CronEnds(lease).tick()
    made.refresh_from_db()
    assert made.end == after


def test_an_end_stays(lease: LeaderLease, client: redis.Redis, pool: Pool) -> None:
    made = slot(pool, end="failed")
    client.hset("rq:job:j", "status", "finished")
    CronEnds(lease).tick()
    made.refresh_from_db()
    assert made.end == "failed"


def test_who_lost_the_lease_writes_nothing(lease: LeaderLease, client: redis.Redis, pool: Pool) -> None:
    slot(pool)
    client.hset("rq:job:j", "status", "failed")
    ControllerLease.objects.update(holder="another")
    with pytest.raises(LeaseLost):
        CronEnds(lease).tick()
    assert CronSlot.objects.get().end == ""


def test_old_slots_go_but_for_each_entrys_newest(pool: Pool) -> None:
    now = timezone.now()
    for days in (400, 8, 6):
        slot(pool, slot_at=now - timedelta(days=days), reported_at=now - timedelta(days=days))
    yearly = slot(pool, name="yearly", slot_at=now - timedelta(days=300), reported_at=now - timedelta(days=300))
    sweep_slots(now)
    assert CronSlot.objects.filter(name="report").count() == 1
    assert CronSlot.objects.get(name="yearly") == yearly
