"""Carrying out: each job moves once, each item gets the outcome that is true, and dead letters follow."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from audit.models import Event
from pools.broker.connection import Broker, BrokerUnavailable
from pools.controller.lease import LeaderLease
from pools.controller.scanner import Scanner
from pools.models import DeadLetter, DeadLetterState, FailureGroup, Operation, OperationState, Outcome, Pool
from pools.operations import (
    Plan,
    Selection,
    operation_cancel,
    operation_pause,
    operation_recall,
    operation_resume,
    requeue_create,
)
from pools.operations.execute import CHUNK, _next_chunk, receipt_of, run_operation
from pools.operations.sending import send
from pools.selectors.dead_letters import DeadLetterFilter
from tests.broker.records import TRACEBACK, write_failed
from tests.dead_letters.letters import numbered
from tests.operations.conftest import Made
from tests.support import factories as make
from tests.support.cast import Cast, actor
from tests.support.valkey import ValkeyServer

type Dead = Callable[..., FailureGroup]


def outcomes(operation: Operation) -> dict[str, int]:
    counts = operation.outcome_counts()
    assert sum(counts.values()) == operation.frozen_count
    return counts


def letters() -> dict[str, str]:
    return dict(DeadLetter.objects.values_list("job_id", "state"))


def queued(client: redis.Redis) -> list[str]:
    return [job_id.decode() for job_id in client.lrange("rq:queue:payments", 0, -1)]


def sent_but_not_settled(operation: Operation) -> None:
    """What a process leaves that dies between the broker and the database."""
    row, items, *_ = _next_chunk(operation.pk)
    send(row, items, receipt_of(row))


def test_a_requeue_in_several_chunks(dead: Dead, requeue: Made, client: redis.Redis) -> None:
    ids = numbered(2 * CHUNK + 7)
    group = dead(*ids)
    operation = requeue()
    assert run_operation(operation.pk) == f"operation {operation.pk}: {len(ids)} requeued"
    operation.refresh_from_db()
    assert (operation.state, outcomes(operation)) == (OperationState.ENDED, {"requeued": len(ids)})
    assert operation.ended_at is not None
    assert queued(client) == ids and client.zcard("rq:failed:payments") == 0
    assert set(letters().values()) == {DeadLetterState.REQUEUED}
    group.refresh_from_db()
    assert (group.open_count, group.total_count) == (0, len(ids))
    assert not client.keys("pw:moved:*")


def test_a_discard(dead: Dead, discard: Made, client: redis.Redis) -> None:
    dead("a", "b")
    operation = discard()
    run_operation(operation.pk)
    assert outcomes(operation) == {"discarded": 2}
    assert letters() == {"a": DeadLetterState.DISCARDED, "b": DeadLetterState.DISCARDED}
    assert not client.keys("rq:job:*") and not client.keys("rq:results:*")


def test_each_outcome_is_true(dead: Dead, requeue: Made, client: redis.Redis) -> None:
    """Meanwhile another tool requeued one, one expired and one was damaged."""
    group = dead("fine", "taken", "expired", "damaged")
    operation = requeue()
    client.zrem("rq:failed:payments", "taken")
    client.hset("rq:job:taken", "status", "queued")
    client.delete("rq:job:expired")
    client.hdel("rq:job:damaged", "data")
    run_operation(operation.pk)
    items = dict(operation.items.values_list("job_id", "outcome"))
    assert items == {"fine": "requeued", "taken": "not_failed", "expired": "gone", "damaged": "damaged"}
    assert letters() == {"fine": "requeued", "taken": "gone", "expired": "gone", "damaged": "open"}
    group.refresh_from_db()
    assert group.open_count == 1


def test_the_end_is_an_event_that_tells_the_effect(dead: Dead, requeue: Made, client: redis.Redis) -> None:
    dead("a", "b")
    operation = requeue()
    client.delete("rq:job:b")
    run_operation(operation.pk)
    event = Event.objects.get(action="operation.requeue_ended")
    assert event.after == {"gone": 1, "requeued": 1}
    assert (event.actor_kind, event.reason, event.pool) == ("system", "The gateway is back", "payments")
    assert (event.detail["frozen"], event.detail["started_by"]) == (2, "bob")
    assert run_operation(operation.pk) == f"operation {operation.pk} is ended"
    assert Event.objects.filter(action="operation.requeue_ended").count() == 1


@pytest.mark.parametrize("kind", ["requeue", "discard"])
def test_a_death_between_broker_and_database_is_made_good(
    dead: Dead, requeue: Made, discard: Made, client: redis.Redis, kind: str
) -> None:
    dead("a", "b", "c")
    operation = {"requeue": requeue, "discard": discard}[kind]()
    sent_but_not_settled(operation)
    assert outcomes(operation) == {"pending": 3}
    run_operation(operation.pk)
    assert outcomes(operation) == {{"requeue": "requeued", "discard": "discarded"}[kind]: 3}
    assert queued(client) == (["a", "b", "c"] if kind == "requeue" else [])


def test_what_ran_and_failed_again_before_the_repeat_stays_dead(dead: Dead, requeue: Made, client: redis.Redis) -> None:
    """The job moved once and failed anew: the operation did requeue it, and it is a dead letter again."""
    group = dead("a", "b")
    operation = requeue()
    sent_but_not_settled(operation)
    client.lrem("rq:queue:payments", 0, "a")
    write_failed(client, "a", queue="payments")
    DeadLetter.objects.filter(job_id="a").update(failed_at=timezone.now() + timedelta(seconds=1))
    run_operation(operation.pk)
    assert outcomes(operation) == {"requeued": 2}
    assert queued(client) == ["b"] and client.zscore("rq:failed:payments", "a") is not None
    assert letters() == {"a": "open", "b": "requeued"}
    group.refresh_from_db()
    assert group.open_count == 1


def test_two_operators_with_overlapping_sets(dead: Dead, requeue: Made, client: redis.Redis) -> None:
    dead("a", "b", "c")
    first, second = requeue("a", "b"), requeue("b", "c")
    run_operation(first.pk)
    run_operation(second.pk)
    assert outcomes(first) == {"requeued": 2}
    assert dict(second.items.values_list("job_id", "outcome")) == {"b": "not_failed", "c": "requeued"}
    assert sorted(queued(client)) == ["a", "b", "c"]
    assert set(letters().values()) == {DeadLetterState.REQUEUED}


@pytest.mark.parametrize("kind", ["requeue", "discard"])
def test_what_fails_anew_after_it_was_frozen_is_not_what_was_chosen(
    dead: Dead, requeue: Made, discard: Made, payments: Pool, client: redis.Redis, kind: str
) -> None:
    """Another operator sent it meanwhile, and it fails of something that nobody has looked at."""
    lease = LeaderLease()
    assert lease.renew()
    dead("a", "b", "c")
    make.queue(payments, "payments")
    Scanner(lease).tick()
    first, second = requeue("a", "b"), {"requeue": requeue, "discard": discard}[kind]("b", "c")
    run_operation(first.pk)
    client.lrem("rq:queue:payments", 0, "b")
    write_failed(client, "b", queue="payments", traceback=TRACEBACK.replace("ValueError", "DuplicateCharge"), ttl=7200)
    run_operation(second.pk)
    done = {"requeue": "requeued", "discard": "discarded"}[kind]
    assert dict(second.items.values_list("job_id", "outcome")) == {"b": "failed_anew", "c": done}
    assert client.zrange("rq:failed:payments", 0, -1) == [b"b"]
    Scanner(lease).tick()
    assert letters() == {"a": "requeued", "b": "open", "c": done}
    assert DeadLetter.objects.get(job_id="b").exc_type == "DuplicateCharge"


@pytest.mark.parametrize("stay", [True, False])
def test_a_job_whose_dependency_is_gone_stays_if_the_plan_says_so(
    cast: Cast, dead: Dead, payments: Pool, client: redis.Redis, stay: bool
) -> None:
    dead("a", "b")
    client.hset("rq:job:a", "dependency_ids", '["parent"]')
    chosen = Selection(filter=DeadLetterFilter())
    plan = Plan(orphans_stay=stay)
    row = requeue_create(actor=actor(cast.bob), selection=chosen, reason="The gateway is back", plan=plan)
    run_operation(row.pk)
    assert outcomes(row) == ({"orphaned": 1, "requeued": 1} if stay else {"requeued": 2})
    assert letters() == {"a": "open" if stay else "requeued", "b": "requeued"}
    assert sorted(queued(client)) == (["b"] if stay else ["a", "b"])


def test_what_was_put_back_is_sent_at_once(cast: Cast, dead: Dead, requeue: Made, client: redis.Redis) -> None:
    """It lies elsewhere in the registry than before, and has not failed since."""
    lease = LeaderLease()
    assert lease.renew()
    dead("a")
    Scanner(lease).tick()
    first = requeue("a")
    run_operation(first.pk)
    operation_recall(actor=actor(cast.bob), operation=first, reason="Too early")
    run_operation(first.pk)
    assert letters() == {"a": "open"} and queued(client) == []
    second = requeue("a")
    run_operation(second.pk)
    assert (outcomes(second), queued(client)) == ({"requeued": 1}, ["a"])


def test_whoever_settles_first_the_dead_letter_tells_who_moved_it(
    dead: Dead, requeue: Made, client: redis.Redis
) -> None:
    group = dead("a")
    first, second = requeue("a"), requeue("a")
    sent_but_not_settled(first)
    run_operation(second.pk)
    assert (outcomes(second), letters()) == ({"not_failed": 1}, {"a": "gone"})
    run_operation(first.pk)
    assert (outcomes(first), letters()) == ({"requeued": 1}, {"a": "requeued"})
    group.refresh_from_db()
    assert group.open_count == 0


def test_a_requeue_and_a_discard_of_the_same_job(dead: Dead, requeue: Made, discard: Made, client: redis.Redis) -> None:
    dead("a")
    back, away = requeue("a"), discard("a")
    run_operation(away.pk)
    run_operation(back.pk)
    assert (outcomes(away), outcomes(back)) == ({"discarded": 1}, {"gone": 1})
    assert letters() == {"a": "discarded"} and queued(client) == []


def test_a_pause_stops_and_a_resume_goes_on(cast: Cast, dead: Dead, requeue: Made, client: redis.Redis) -> None:
    dead("a", "b")
    operation = operation_pause(actor=actor(cast.bob), operation=requeue())
    assert run_operation(operation.pk) == f"operation {operation.pk} is paused"
    assert (outcomes(operation), queued(client)) == ({"pending": 2}, [])
    operation_resume(actor=actor(cast.bob), operation=operation)
    run_operation(operation.pk)
    assert outcomes(operation) == {"requeued": 2}


def test_a_cancel_leaves_the_rest_among_the_dead_letters(
    cast: Cast, dead: Dead, requeue: Made, client: redis.Redis
) -> None:
    """Also when it comes while a chunk is under way: what was sent is told as sent."""
    group = dead(*numbered(CHUNK + 3))
    operation = requeue()
    sent_but_not_settled(operation)
    operation_cancel(actor=actor(cast.bob), operation=operation, reason="wrong group")
    assert outcomes(operation) == {"cancelled": 3, "pending": CHUNK}
    assert run_operation(operation.pk) == f"operation {operation.pk} is cancelled"
    assert outcomes(operation) == {"cancelled": 3, "requeued": CHUNK}
    assert len(queued(client)) == CHUNK and client.zcard("rq:failed:payments") == 3
    group.refresh_from_db()
    assert group.open_count == 3
    assert not Event.objects.filter(action="operation.requeue_ended").exists()


def test_a_broker_that_is_away_costs_nothing(
    dead: Dead, requeue: Made, broker: Broker, client: redis.Redis, own_valkey: ValkeyServer, settings: Settings
) -> None:
    dead("a")
    operation = requeue()
    here = settings.POOLWARDEN_BROKERS
    own_valkey.stop()
    settings.POOLWARDEN_BROKERS = {"default": {"url": own_valkey.url, "prefix": "rq", "region": ""}}
    with pytest.raises(BrokerUnavailable):
        run_operation(operation.pk)
    assert (outcomes(operation), letters()) == ({"pending": 1}, {"a": "open"})
    settings.POOLWARDEN_BROKERS = here
    run_operation(operation.pk)
    assert outcomes(operation) == {Outcome.REQUEUED: 1}


def test_jobs_with_any_id(dead: Dead, requeue: Made, client: redis.Redis, payments: Pool) -> None:
    ids = ["a b", "a:b", "a/b", "ünï", "<b>", "'; DROP TABLE x; --", "x" * 500]
    dead(*ids)
    operation = requeue()
    run_operation(operation.pk)
    assert outcomes(operation) == {"requeued": len(ids)}
    assert sorted(queued(client)) == sorted(ids)
