"""A resolved group that fails again is regressed in the transaction that reads the failure; and what a worker ran."""

from datetime import timedelta

import pytest
import redis

from audit.models import Event
from audit.sentences import sentence
from pools.broker.connection import Broker
from pools.controller.ingester import Ingester
from pools.controller.lease import LeaderLease
from pools.models import DeadLetter, DeadLetterState, FailureGroup, GroupNote, GroupState, Pool, Team
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.controller.test_ingester import failed, redeliver
from tests.support import factories

pytestmark = pytest.mark.django_db
OTHER = """Traceback (most recent call last):
  File "/srv/app/shop/tax.py", line 3, in vat
    return rate[region]
KeyError: 1
"""


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


def regressions() -> list[Event]:
    return list(Event.objects.filter(action="failure_group.regressed"))


def test_a_resolved_group_regresses_once(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    FailureGroup.objects.update(state=GroupState.RESOLVED)
    write_failed(client, "j2", "j3")
    failed(client, "j2", "j3")
    tick(ingester)
    group = FailureGroup.objects.get()
    assert (group.state, group.revision, group.open_count, group.total_count) == (GroupState.REGRESSED, 2, 3, 3)
    (event,) = regressions()
    assert sentence(event) == "Controller saw ValueError in shop.orders.parse in mail fail again after it was resolved"
    assert (event.before, event.after) == ({"state": "resolved"}, {"state": "regressed", "failures": 3})
    assert (GroupNote.objects.get().author_name, group.state_at is not None) == ("controller", True)
    write_failed(client, "j4")
    failed(client, "j4")
    tick(ingester)
    assert len(regressions()) == 1
    FailureGroup.objects.update(state=GroupState.RESOLVED)
    write_failed(client, "j5")
    failed(client, "j5")
    tick(ingester)
    assert len(regressions()) == 2


def test_what_is_delivered_twice_or_was_moved_is_no_regression(
    ingester: Ingester, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    FailureGroup.objects.update(state=GroupState.RESOLVED)
    redeliver(client)
    tick(ingester)
    DeadLetter.objects.all().close(DeadLetterState.GONE, factories.ago(minutes=5))
    redeliver(client)
    tick(ingester)
    assert DeadLetter.objects.get().state == DeadLetterState.OPEN
    assert FailureGroup.objects.get().state == GroupState.RESOLVED and not regressions()


def test_what_failed_before_it_was_resolved_and_is_read_after_is_no_regression(
    ingester: Ingester, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1", "j2")
    failed(client, "j1")
    tick(ingester)
    before = FailureGroup.objects.get().last_seen
    FailureGroup.objects.update(state=GroupState.RESOLVED, state_at=before + timedelta(minutes=1))
    failed(client, "j2")
    tick(ingester)
    group = FailureGroup.objects.get()
    assert (group.state, group.total_count) == (GroupState.RESOLVED, 2) and not regressions()
    FailureGroup.objects.update(state_at=before - timedelta(minutes=1))
    write_failed(client, "j3")
    failed(client, "j3")
    tick(ingester)
    assert FailureGroup.objects.get().state == GroupState.REGRESSED and len(regressions()) == 1


def test_only_the_group_that_failed_regresses(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    write_failed(client, "k1", traceback=OTHER)
    failed(client, "j1", "k1")
    tick(ingester)
    FailureGroup.objects.filter(exc_type="ValueError").update(state=GroupState.RESOLVED)
    FailureGroup.objects.filter(exc_type="KeyError").update(state=GroupState.ACKNOWLEDGED)
    write_failed(client, "k2", traceback=OTHER)
    failed(client, "k2")
    tick(ingester)
    states = dict(FailureGroup.objects.values_list("exc_type", "state"))
    assert states == {"ValueError": "resolved", "KeyError": "acknowledged"} and not regressions()


def test_a_letter_knows_what_its_worker_ran(ingester: Ingester, tick: Tick, client: redis.Redis, pool: Pool) -> None:
    factories.worker(pool, "pay-01/1", rq_version="3.0.0", python_version="3.13.1")
    write_failed(client, "j1")
    write_failed(client, "j2", worker_name="stranger")
    failed(client, "j1", "j2")
    tick(ingester)
    write_failed(client, "j3")
    failed(client, "j3", rq="3.1.0", python="3.14.0")
    tick(ingester)
    known = DeadLetter.objects.get(job_id="j3")
    assert (known.rq_version, known.python_version) == ("3.1.0", "3.14.0"), "as it says itself: it may be new"
    letter = DeadLetter.objects.get(job_id="j1")
    assert (letter.worker, letter.rq_version, letter.python_version) == ("pay-01/1", "3.0.0", "3.13.1")
