"""Dead letters go to another queue: of a pool where the actor may requeue as well, and are followed there."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.utils import timezone
from guardian.shortcuts import assign_perm

from audit.models import Event
from audit.sentences import sentence
from pools.broker.connection import Broker
from pools.controller.effects import Effects
from pools.controller.lease import LeaderLease
from pools.models import DeadLetter, FailureGroup, Operation, OperationState, Pool
from pools.operations import Canary, Plan, Selection, move_create, operation_again, operation_recall, requeue_create
from pools.operations.errors import Refused
from pools.operations.execute import run_operation
from pools.permissions import REQUEUE, VIEW, Denied
from tests.dead_letters.letters import failed, numbered, pks
from tests.dead_letters.test_list import text
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

pytestmark = pytest.mark.django_db
type Dead = Callable[..., FailureGroup]


@pytest.fixture
def slow(cast: Cast, payments: Pool) -> Pool:
    """Another pool of the same team, with the queue ``slow``."""
    return make.pool(cast.payments, "slow", queues=["slow"])


def move(cast: Cast, to_queue: str = "slow", *ids: str, **more: Any) -> Operation:
    selection = Selection(ids=tuple(pks(*(ids or ("a", "b")))))
    values = {"actor": actor(cast.bob), "reason": "More memory there"} | more
    return move_create(selection=selection, to_queue=to_queue, **values)


def test_jobs_are_moved_and_followed_to_their_end_there(
    cast: Cast, slow: Pool, dead: Dead, broker: Broker, client: redis.Redis
) -> None:
    dead("a", "b", "c")
    row = move(cast)
    assert (row.kind, row.to_queue, row.to_pool) == ("move", "slow", slow)
    run_operation(row.pk)
    assert client.lrange("rq:queue:slow", 0, -1) == [b"a", b"b"] and client.llen("rq:queue:payments") == 0
    assert client.zrange("rq:failed:payments", 0, -1) == [b"c"]
    row.refresh_from_db()
    assert (row.state, row.outcome_counts()) == (OperationState.ENDED, {"requeued": 2})
    assert set(DeadLetter.objects.filter(state="requeued").values_list("job_id", flat=True)) == {"a", "b"}
    started, ended = Event.objects.order_by("pk")
    assert sentence(started) == "bob set out to move 2 dead letters to slow"
    assert sentence(ended).endswith("moved 2 dead letters to slow") and started.detail["pools"] == ["payments", "slow"]

    client.delete("rq:job:a", "rq:job:b")  # as RQ does when nothing of them is kept; registries still name them
    client.zadd("rq:finished:slow", {"a": 9e12})
    client.zadd("rq:failed:slow", {"b": 9e12})
    lease = LeaderLease()
    assert lease.renew()
    Effects(lease).tick()
    row.refresh_from_db()
    assert row.effects == {"succeeded": 1, "failed_again": 1}


def test_the_same_failure_in_the_other_pool_is_the_same(cast: Cast, slow: Pool, dead: Dead, broker: Broker) -> None:
    """Groups are of one pool; what a job fails of is not."""
    group = dead("a", "b")
    row = move(cast)
    run_operation(row.pk)
    there = make.failure_group(slow, digest=group.digest)
    other = make.failure_group(slow, "KeyError 'x'")
    now = timezone.now()
    for job_id, found in (("a", there), ("b", other)):
        DeadLetter.objects.filter(job_id=job_id).update(
            group=found, pool=slow, queue="slow", state="open", closed_at=None, enqueued_at=now, failed_at=now
        )
    lease = LeaderLease()
    assert lease.renew()
    Effects(lease).tick()
    row.refresh_from_db()
    assert (row.effects, row.same_failures) == ({"failed_again": 2}, 1)
    assert dict(DeadLetter.objects.values_list("job_id", "came_back")) == {"a": 1, "b": 0}


def test_it_has_a_plan_as_a_requeue_has(cast: Cast, slow: Pool, dead: Dead, broker: Broker) -> None:
    dead(*numbered(6))
    row = move(cast, "slow", *numbered(6), plan=Plan(canary=Canary(2, 100), stop_same_failure=10))
    assert "canary" in run_operation(row.pk) and row.outcome_counts() == {"pending": 4, "requeued": 2}


@pytest.mark.parametrize("name", ["", "nowhere", "console", "hidden", "elsewhere", "slow "])
def test_only_queues_that_are_known(cast: Cast, slow: Pool, payments: Pool, name: str) -> None:
    make.pool(cast.payments, "own", kind="console", queues=["console"], versions=0)
    make.pool(cast.elsewhere, "hidden", queues=["hidden"])
    make.pool(cast.payments, "elsewhere", queues=["elsewhere"], broker="far")
    failed(payments, "a", "b")
    if name == "slow ":
        assert move(cast, name).to_queue == "slow"
        return
    with pytest.raises(Refused) as refused:
        move(cast, name)
    assert refused.value.field == "to_queue" and refused.value.message.endswith("Nothing was changed.")
    assert not Operation.objects.exists()


def test_to_where_they_are_is_no_move(cast: Cast, payments: Pool) -> None:
    failed(payments, "a", "b")
    with pytest.raises(Refused, match="requeue them"):
        move(cast, "payments")
    assert move(cast, "payments.high").to_pool == payments, "another queue of the same pool"


def test_it_takes_the_right_in_both_pools(cast: Cast, slow: Pool, payments: Pool) -> None:
    failed(payments, "a", "b")
    far = make.pool(cast.elsewhere, "far", queues=["far"])
    assign_perm(VIEW, cast.bob.groups.get(), far)
    with pytest.raises(Denied) as denied:
        move(cast, "far")
    assert (denied.value.permission, denied.value.pool) == (REQUEUE, far)
    assert Event.objects.latest("pk").outcome == "denied"
    with pytest.raises(Denied):
        move(cast, "slow", actor=actor(cast.vera))
    assert not Operation.objects.exists()


def test_both_pools_limits_count(cast: Cast, slow: Pool, payments: Pool) -> None:
    failed(payments, *numbered(6))
    Pool.objects.filter(pk=slow.pk).update(approval_limit=3)
    assert move(cast, "slow", *numbered(2)).state == OperationState.RUNNING
    second = move(cast, "slow", *numbered(6)[2:4])
    assert second.approval.needed == [{"pool": "slow", "jobs": 2, "lately": 2, "limit": 3}]


def test_a_move_is_not_recalled_but_done_again(cast: Cast, slow: Pool, dead: Dead, broker: Broker) -> None:
    dead("a", "b")
    row = move(cast)
    run_operation(row.pk)
    with pytest.raises(Refused, match="same queue"):
        operation_recall(actor=actor(cast.bob), operation=row, reason="x")
    row.items.update(effect="failed_again")
    DeadLetter.objects.update(state="open", queue="slow", pool=slow, group=make.failure_group(slow))
    again = operation_again(actor=actor(cast.bob), operation=row, reason="Mended")
    assert (again.kind, again.to_queue, list(again.pools.all())) == ("requeue", "", [slow])


def test_the_page_suggests_queues_and_names_the_wrong_one(cast: Cast, slow: Pool, payments: Pool) -> None:
    failed(payments, "a", "b")
    client = signed_in(cast.bob)
    shown = client.post("/dead-letters/move/", {"id": pks("a", "b")}).content.decode()
    assert '<datalist id="queues"><option value="payments">' in shown and '<option value="slow">' in shown
    assert "Move 2 jobs" in shown and "will go to the end of another queue" in shown and 'list="queues"' in shown
    posted = {"id": pks("a", "b"), "reason": "More memory", "to_queue": "nowhere", "expected_count": "2"}
    wrong = client.post("/dead-letters/move/", posted)
    assert (
        wrong.status_code == 422
        and "has a queue" in text(wrong.content)
        and 'id="id_to_queue_error"' in (wrong.content.decode())
    )
    assert "Say to which queue" in text(client.post("/dead-letters/move/", posted | {"to_queue": ""}).content)
    assert not Operation.objects.exists()
    done = client.post("/dead-letters/move/", posted | {"to_queue": "slow"}, follow=True)
    assert "Move of 2 jobs has begun" in text(done.content)
    assert "Move 2 dead letters in payments to slow" in text(done.content)


def test_a_limit_elsewhere_is_said_before_the_click(cast: Cast, slow: Pool, payments: Pool) -> None:
    failed(payments, "a", "b")
    Pool.objects.filter(pk=slow.pk).update(approval_limit=1)
    shown = text(signed_in(cast.bob).post("/dead-letters/move/", {"id": pks("a", "b")}).content)
    assert "Moving so many to a queue of slow needs a second person" in shown


def test_where_jobs_would_wait_is_said_before_the_click(cast: Cast, slow: Pool, payments: Pool) -> None:
    """Of the queues to which they may go, not of the one that they leave; and again before a frozen set is sent."""
    failed(payments, "a", "b")
    client = signed_in(cast.bob)
    Pool.objects.filter(pk=payments.pk).update(run_state="paused")
    shown = text(client.post("/dead-letters/move/", {"id": pks("a", "b")}).content)
    assert "payments takes no jobs now: what is moved there waits." in shown and "what is sent there" not in shown
    Pool.objects.update(run_state="paused")
    shown = text(client.post("/dead-letters/move/", {"id": pks("a", "b")}).content)
    assert "payments and slow take no jobs now: what is moved there waits." in shown
    frozen = move(cast, start=False)
    assert "slow takes no jobs now: what is moved" in text(client.get(f"/operations/{frozen.pk}/").content)
    kept = requeue_create(
        actor=actor(cast.bob), selection=Selection(ids=tuple(pks("a", "b"))), reason="Later", start=False
    )
    assert "payments takes no jobs now: what is sent" in text(client.get(f"/operations/{kept.pk}/").content)


@pytest.mark.parametrize(("who", "status"), [("vera", 403), ("otto", 403), ("charlie", 404)])
def test_others_move_nothing(cast: Cast, slow: Pool, payments: Pool, who: str, status: int) -> None:
    failed(payments, "a", "b")
    posted = {"id": pks("a", "b"), "reason": "More memory", "to_queue": "slow"}
    assert signed_in(getattr(cast, who)).post("/dead-letters/move/", posted).status_code == status
    assert signed_in(cast.bob).get("/dead-letters/move/").status_code == 405
    assert not Operation.objects.exists()
