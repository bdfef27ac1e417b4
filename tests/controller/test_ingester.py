"""Reports become rows once, whatever is delivered twice, late or broken."""

import json
import time
import zlib
from typing import Any

import pytest
import redis
from rq import Queue

from audit.models import Event
from pools.arguments import digest
from pools.broker.connection import Broker
from pools.broker.moves import requeue
from pools.controller.ingester import Ingester
from pools.controller.lease import LeaderLease, LeaseLost
from pools.models import (
    BrokerState,
    ControllerLease,
    DeadLetter,
    DeadLetterState,
    FailedAttempt,
    FailureGroup,
    FailureHour,
    Pool,
    SearchableArgument,
    Team,
)
from tests.broker.conftest import Work, work  # noqa: F401  (a fixture)
from tests.broker.jobs import fails
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.support import factories

pytestmark = pytest.mark.django_db


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


def report(client: redis.Redis, kind: str, **body: Any) -> str:
    entry = {"type": kind, "body": json.dumps({"at": time.time(), "agent": "pay-01", "host": "host-1"} | body)}
    return client.xadd("pw:events", entry).decode()  # type: ignore[union-attr]


def failed(client: redis.Redis, *ids: str, **more: Any) -> None:
    for job_id in ids:
        report(client, "job.failed", job_id=job_id, queue="mail", worker="pay-01/1", config=3, **more)


def open_counts() -> list[tuple[int, int]]:
    return list(FailureGroup.objects.order_by("pk").values_list("open_count", "total_count"))


def redeliver(client: redis.Redis) -> None:
    """As if every acknowledgement had been lost."""
    client.xgroup_setid("pw:events", "console", "0")


def test_a_failed_job_becomes_a_dead_letter_in_the_group_of_its_cause(
    ingester: Ingester, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    write_failed(client, "j1", "j2")
    failed(client, "j1", "j2")
    tick(ingester)
    letter = DeadLetter.objects.get(job_id="j1")
    assert (letter.pool, letter.queue, letter.func) == (pool, "mail", "shop.orders.parse")
    assert (letter.exc_type, letter.worker, letter.host, letter.config_number) == (
        "ValueError",
        "pay-01/1",
        "host-1",
        3,
    )
    assert (letter.state, letter.attempts) == (DeadLetterState.OPEN, 1)
    assert zlib.decompress(letter.detail.traceback).decode().startswith("Traceback (most recent call last):")
    group = FailureGroup.objects.get()
    assert (group.open_count, group.total_count, group.last_seen >= group.first_seen) == (2, 2, True)
    assert FailureHour.objects.get().count == 2
    assert client.xpending("pw:events", "console")["pending"] == 0


def test_arguments_that_the_pool_names_are_indexed(
    ingester: Ingester, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    Pool.objects.filter(pk=pool.pk).update(searchable_arguments=["0"], indexed_arguments=["0"])
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    (found,) = SearchableArgument.objects.values_list("dead_letter__job_id", "path", "digest")
    assert (found[0], found[1], bytes(found[2])) == ("j1", "0", digest("0", "1"))


def test_what_is_delivered_twice_counts_once(ingester: Ingester, tick: Tick, client: redis.Redis, pool: Pool) -> None:
    write_failed(client, "j1")
    failed(client, "j1", "j1")
    report(client, "worker.lost", worker="pay-01/1", pool_uid=str(pool.uid), pid=7, exit="signal 9", job_id="j1")
    tick(ingester)
    redeliver(client)
    tick(ingester)
    assert open_counts() == [(1, 1)]
    assert Event.objects.filter(action="worker.lost").count() == 1


def test_a_job_that_fails_again_keeps_its_earlier_failure(
    ingester: Ingester,
    tick: Tick,
    client: redis.Redis,
    broker: Broker,
    work: Work,  # noqa: F811
) -> None:
    job = Queue("mail", connection=client).enqueue(fails, 1)
    work()
    failed(client, job.id)
    tick(ingester)
    first = DeadLetter.objects.get()
    requeue(broker, [(job.id, "mail")])
    work()
    failed(client, job.id)
    tick(ingester)
    again = DeadLetter.objects.get()
    assert (again.pk, again.attempts, again.state) == (first.pk, 2, DeadLetterState.OPEN)
    assert again.failed_at > first.failed_at
    earlier = FailedAttempt.objects.get()
    assert (earlier.number, earlier.failed_at, earlier.exc_type) == (1, first.failed_at, "ValueError")
    assert open_counts() == [(1, 2)]


def test_another_cause_moves_the_letter_to_another_group(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    write_failed(client, "j1", traceback="KeyError: 'order'\n")
    failed(client, "j1")
    tick(ingester)
    assert open_counts() == [(0, 1), (1, 1)]
    assert DeadLetter.objects.get().group.exc_type == "KeyError"


def test_a_requeued_letter_is_opened_again_when_its_job_fails_again(
    ingester: Ingester, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    DeadLetter.objects.update(state=DeadLetterState.REQUEUED)
    FailureGroup.objects.update(open_count=0)
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    letter = DeadLetter.objects.get()
    assert (letter.state, letter.closed_at, letter.attempts) == (DeadLetterState.OPEN, None, 2)
    assert open_counts() == [(1, 2)]


def test_a_job_that_lives_again_before_we_look_is_no_dead_letter(
    ingester: Ingester, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1", status="queued")
    failed(client, "j1", "expired")
    tick(ingester)
    assert not DeadLetter.objects.exists()
    assert client.xpending("pw:events", "console")["pending"] == 0


def test_reports_become_audit_events_of_their_agent(
    ingester: Ingester, tick: Tick, client: redis.Redis, pool: Pool
) -> None:
    uid = str(pool.uid)
    report(client, "secret.resolved", name="card", pool_uid=uid, pool="mail", job_id="j1", worker="w", config=3)
    report(
        client,
        "secret.refused",
        name="card",
        pool_uid=uid,
        pool="mail",
        job_id="j1",
        worker="w",
        config=3,
        why="not_listed",
    )
    report(client, "config.refused", pool_uid=uid, pool="mail", version=4, code="expired", detail="It expired.")
    report(client, "worker.lost", worker="w", pool_uid=uid, pid=7, exit="signal 9", job_id=None)
    report(client, "worker.boot_failed", worker="w", pool_uid=uid, config=3, exit_code=1, message="No module")
    report(client, "job.fenced", pool_uid=uid, job_id="j2", execution="e", end="success", worker="w", config=3)
    tick(ingester)
    seen = {event.action: event for event in Event.objects.exclude(action="controller.took_over")}
    assert {event.actor_kind for event in seen.values()} == {"agent"}
    assert {(event.actor_name, event.pool) for event in seen.values()} == {("pay-01", "mail")}
    assert {action: event.target_name for action, event in seen.items()} == {
        "secret.resolved": "card",
        "secret.refused": "card",
        "config.refused": "mail",
        "worker.lost": "w",
        "worker.boot_failed": "w",
        "job.fenced": "j2",
    }
    assert seen["secret.refused"].detail["why"] == "not_listed"
    assert (seen["config.refused"].detail["code"], seen["config.refused"].detail["version"]) == ("expired", 4)
    assert seen["worker.lost"].detail["exit"] == "signal 9"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("job.failed", {"job_id": ""}),
        ("job.failed", {"job_id": "x" * 501, "queue": "mail"}),
        ("job.failed", {"queue": ["mail"], "job_id": "j"}),
        ("secret.resolved", {"name": "card"}),
        ("worker.lost", {"worker": "w", "pool_uid": "nobody", "exit": {"a": 1}}),
        ("config.refused", {"pool_uid": "u", "code": "x", "version": "four"}),
        ("worker.lost", {"agent": None, "worker": "w", "pool_uid": "u", "exit": "x"}),
        ("job.failed", {"job_id": "\ud800", "queue": "mail"}),
        ("job.failed", {"job_id": "a\x00", "queue": "mail"}),
        ("riddle", {"a": 1}),
    ],
)
def test_what_makes_no_sense_holds_nobody_up(
    ingester: Ingester, tick: Tick, client: redis.Redis, kind: str, body: dict[str, Any]
) -> None:
    report(client, kind, **body)
    write_failed(client, "good")
    failed(client, "good")
    tick(ingester)
    assert DeadLetter.objects.get().job_id == "good"
    assert client.xpending("pw:events", "console")["pending"] == 0
    assert list(Event.objects.values_list("action", flat=True)) == ["controller.took_over"]


def test_hostile_text_is_cut_to_what_fits(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    report(client, "worker.lost", agent="a\x00" * 600, worker="w" * 600, pool_uid="nobody", exit="e\x00\ud800" * 600)
    tick(ingester)
    event = Event.objects.get(action="worker.lost")
    assert (len(event.target_name), event.pool, "\x00" in event.actor_name) == (500, "", False)


def test_a_replaced_leader_acknowledges_nothing(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    ControllerLease.objects.update(holder="somebody else")
    with pytest.raises(LeaseLost):
        ingester.tick()
    assert not DeadLetter.objects.exists()
    successor = LeaderLease()
    ControllerLease.objects.update(holder=successor.holder)
    Ingester(successor).tick()
    assert DeadLetter.objects.get().job_id == "j1", "the successor takes over what was read and not acknowledged"


def test_the_stream_may_vanish(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    tick(ingester)
    client.delete("pw:events")
    write_failed(client, "j2")
    failed(client, "j2")
    tick(ingester)
    assert open_counts() == [(2, 2)]


def test_it_says_how_far_it_has_read(ingester: Ingester, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    failed(client, "j1")
    last = report(client, "worker.lost", worker="w", pool_uid="u", exit="signal 9")
    assert tick(ingester) is False
    assert BrokerState.objects.get().last_event_id == last
