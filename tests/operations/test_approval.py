"""What is larger than a pool lets one person decide about waits for a second one, and nobody gets around it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from audit.actor import Actor, system_actor
from audit.models import Event
from audit.sentences import sentence
from pools.controller.lapser import Lapser
from pools.models import (
    Approval,
    Criticality,
    DeadLetter,
    DeadLetterState,
    Operation,
    OperationItem,
    OperationState,
    OutboxMessage,
    Outcome,
    Pool,
)
from pools.operations import (
    Selection,
    discard_create,
    operation_again,
    operation_approve,
    operation_cancel,
    operation_decline,
    operation_lapse,
    operation_rate,
    operation_resume,
    operation_start,
    pool_change,
    requeue_create,
    restore_create,
)
from pools.operations.errors import Conflict, Refused
from pools.permissions import APPROVE_OPERATIONS, REQUEUE, Denied
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import failed, numbered, pks
from tests.support import factories as make
from tests.support.cast import Cast, actor

pytestmark = pytest.mark.django_db
LIMIT = 3


@pytest.fixture
def critical(payments: Pool) -> Pool:
    """One person may handle three of its ten dead letters alone."""
    payments.approval_limit = LIMIT
    payments.save()
    failed(payments, *numbered(10))
    return payments


def requeue(who: Actor, first: int, count: int, *, start: bool = True) -> Operation:
    chosen = Selection(ids=tuple(pks(*numbered(10)[first : first + count])))
    return requeue_create(actor=who, selection=chosen, reason="The gateway is back", start=start)


def sent(row: Operation) -> Operation:
    """As when all of it went back to the queues long ago, and dead letters are there again."""
    row.items.update(outcome=Outcome.REQUEUED)
    long_ago = timezone.now() - timedelta(hours=2)
    Operation.objects.filter(pk=row.pk).update(
        state=OperationState.ENDED, ended_at=long_ago, progressed_at=long_ago, created_at=long_ago
    )
    return row


def state(row: Operation) -> str:
    return Operation.objects.get(pk=row.pk).state


@pytest.mark.parametrize("create", [requeue_create, discard_create])
@pytest.mark.parametrize("start", [True, False])
def test_above_the_limit_it_is_frozen_and_waits(cast: Cast, critical: Pool, create: object, start: bool) -> None:
    chosen = Selection(ids=tuple(pks(*numbered(4))))
    row = create(actor=actor(cast.bob), selection=chosen, reason="Because", start=start)  # type: ignore[operator]
    assert (row.state, row.frozen_count) == (OperationState.AWAITING, 4) and not OutboxMessage.objects.exists()
    assert row.approval.needed == [{"pool": "payments", "jobs": 4, "lately": 0, "limit": LIMIT}]
    assert timedelta(hours=23) < row.approval.lapses_at - timezone.now() <= timedelta(hours=24)
    started, asked = Event.objects.order_by("pk")
    assert sentence(started) == f"bob set out to {row.kind} 4 dead letters in payments"
    assert sentence(asked) == f"bob asked a second person to approve operation {row.pk}"
    assert asked.detail == {"ids_sha256": row.ids_sha256, "needed": row.approval.needed}


def test_up_to_the_limit_nobody_is_asked(cast: Cast, critical: Pool) -> None:
    assert requeue(actor(cast.bob), 0, LIMIT).state == OperationState.RUNNING
    assert OutboxMessage.objects.count() == 1 and not Approval.objects.exists()


def test_each_pool_has_its_own_limit(cast: Cast, critical: Pool) -> None:
    reports = make.pool(cast.payments, "reports")
    failed(reports, "r1", "r2", "r3", "r4")
    both = Selection(ids=tuple(pks("job-0", "r1", "r2", "r3", "r4")))
    assert requeue_create(actor=actor(cast.bob), selection=both, reason="x").state == OperationState.RUNNING
    more = Selection(ids=tuple(pks("job-1", "job-2", "job-3", "r1")))
    row = requeue_create(actor=actor(cast.bob), selection=more, reason="x")
    assert [need["pool"] for need in row.approval.needed] == ["payments"]


def test_another_person_approves_which_starts_it(cast: Cast, critical: Pool) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    moved = operation_approve(
        actor=actor(cast.ada), operation=row, reason="All of the outage", ids_sha256=row.ids_sha256
    )
    assert moved.state == OperationState.RUNNING and OutboxMessage.objects.get().key == str(row.pk)
    approval = Approval.objects.get()
    assert (approval.decision, approval.decided_by, approval.reason) == ("approved", cast.ada, "All of the outage")
    event = Event.objects.latest("pk")
    assert sentence(event) == f"ada approved operation {row.pk} of bob, 5 dead letters"
    assert (event.reason, event.after) == ("All of the outage", {"state": "running"})
    assert event.detail == {"frozen": 5, "ids_sha256": row.ids_sha256, "asked_by": "bob"}
    with pytest.raises(Refused, match="cannot approve"):
        operation_approve(actor=actor(cast.ada), operation=row, reason="again")
    assert OutboxMessage.objects.count() == 1


def test_another_person_declines(cast: Cast, critical: Pool) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    operation_decline(actor=actor(cast.ada), operation=row, reason="The gateway is not back")
    assert state(row) == OperationState.CANCELLED and row.outcome_counts() == {"cancelled": 5}
    assert Approval.objects.get().decision == "declined"
    assert DeadLetter.objects.filter(state="open").count() == 10
    assert sentence(Event.objects.latest("pk")) == f"ada declined operation {row.pk} of bob"


@pytest.mark.parametrize("decide", [operation_approve, operation_decline])
@pytest.mark.parametrize("kind", ["user", "token"])
def test_nobody_decides_about_their_own(cast: Cast, critical: Pool, decide: object, kind: str) -> None:
    """Not from another session, and not with a token: an account is a person."""
    row = requeue(actor(cast.ada), 0, 5)
    again = Actor(kind=kind, id="77", name="ada", user=cast.ada)  # type: ignore[arg-type]
    with pytest.raises(Refused, match="another person"):
        decide(actor=again, operation=row, reason="I am sure")  # type: ignore[operator]
    assert state(row) == OperationState.AWAITING and Approval.objects.get().decision == ""
    with pytest.raises(Refused, match="another person"):
        decide(actor=system_actor("controller"), operation=row, reason="I am sure")  # type: ignore[operator]


@pytest.mark.parametrize("decide", [operation_approve, operation_decline])
@pytest.mark.parametrize("who", ["alice", "vera", "otto", "charlie"])
def test_it_takes_the_right_to_approve(cast: Cast, critical: Pool, decide: object, who: str) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    with pytest.raises(Denied):
        decide(actor=actor(getattr(cast, who)), operation=row, reason="Fine")  # type: ignore[operator]
    event = Event.objects.latest("pk")
    assert (event.outcome, event.detail) == ("denied", {"permission": APPROVE_OPERATIONS})
    assert state(row) == OperationState.AWAITING


@pytest.mark.parametrize("decide", [operation_approve, operation_decline])
def test_a_decision_has_a_reason(cast: Cast, critical: Pool, decide: object) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    with pytest.raises(Refused) as refused:
        decide(actor=actor(cast.ada), operation=row, reason=" ")  # type: ignore[operator]
    assert refused.value.field == "reason" and state(row) == OperationState.AWAITING


def test_what_is_approved_is_what_was_frozen(cast: Cast, critical: Pool) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    with pytest.raises(Conflict):
        operation_approve(actor=actor(cast.ada), operation=row, reason="Fine", ids_sha256="0" * 64)
    OperationItem.objects.filter(operation=row, job_id="job-0").update(job_id="job-9")
    with pytest.raises(Refused, match="not what it was"):
        operation_approve(actor=actor(cast.ada), operation=row, reason="Fine")
    assert state(row) == OperationState.AWAITING


def test_who_asked_must_still_be_allowed(cast: Cast, critical: Pool) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    cast.bob.is_active = False
    cast.bob.save()
    with pytest.raises(Refused, match="bob may no longer do this on payments"):
        operation_approve(actor=actor(cast.ada), operation=row, reason="Fine")
    assert state(row) == OperationState.AWAITING


def test_nothing_moves_or_changes_while_it_waits(cast: Cast, critical: Pool) -> None:
    row, bob = requeue(actor(cast.bob), 0, 5), actor(cast.bob)
    for move in (operation_start, operation_resume):
        with pytest.raises(Refused):
            move(actor=bob, operation=row)
    with pytest.raises(Refused, match="awaiting approval"):
        operation_rate(actor=bob, operation=row, rate_per_second=5)
    assert not OutboxMessage.objects.exists()


def test_the_requester_withdraws(cast: Cast, critical: Pool) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    operation_cancel(actor=actor(cast.bob), operation=row, reason="Not needed any more")
    assert Approval.objects.get().decision == "withdrawn" and state(row) == OperationState.CANCELLED
    with pytest.raises(Refused):
        operation_approve(actor=actor(cast.ada), operation=row, reason="Fine")


def test_it_lapses_after_a_day(cast: Cast, critical: Pool) -> None:
    rows = [requeue(actor(cast.bob), 0, 5), requeue(actor(cast.bob), 0, 5)]
    loop = Lapser(lambda row: operation_lapse(actor=system_actor("controller"), operation=row) and None)
    assert loop.tick() is False and {state(row) for row in rows} == {OperationState.AWAITING}
    with pytest.raises(Refused):
        operation_lapse(actor=system_actor("controller"), operation=rows[0])
    Approval.objects.filter(operation=rows[0]).update(lapses_at=timezone.now())
    loop.tick()
    assert [state(row) for row in rows] == [OperationState.CANCELLED, OperationState.AWAITING]
    event = Event.objects.latest("pk")
    assert sentence(event) == f"Controller cancelled operation {rows[0].pk}: nobody approved it within 24 hours"
    assert Approval.objects.get(operation=rows[0]).decision == "lapsed"


def test_small_ones_add_up(cast: Cast, critical: Pool) -> None:
    bob = actor(cast.bob)
    assert requeue(bob, 0, 2).state == OperationState.RUNNING
    assert requeue(bob, 2, 1, start=False).state == OperationState.FROZEN
    third = requeue(bob, 3, 1)
    assert third.approval.needed == [{"pool": "payments", "jobs": 1, "lately": 3, "limit": LIMIT}]
    assert requeue(actor(cast.alice), 4, 3).state == OperationState.RUNNING, "another person's are not counted"


def test_what_was_sent_long_ago_does_not_count_but_what_may_go_on_does(cast: Cast, critical: Pool) -> None:
    bob = actor(cast.bob)
    sent(requeue(bob, 0, 3))
    kept = requeue(bob, 3, 3, start=False)
    Operation.objects.filter(pk=kept.pk).update(
        created_at=timezone.now() - timedelta(days=1), progressed_at=timezone.now() - timedelta(days=1)
    )
    assert requeue(bob, 6, 1).state == OperationState.AWAITING, "frozen yesterday, and it can be started now"
    operation_cancel(actor=bob, operation=kept, reason="No")
    assert requeue(bob, 6, 1).state == OperationState.RUNNING, "nothing of it was sent"


def test_what_another_person_approved_does_not_count(cast: Cast, critical: Pool) -> None:
    bob = actor(cast.bob)
    operation_approve(actor=actor(cast.ada), operation=requeue(bob, 0, 5), reason="Fine")
    assert requeue(bob, 5, 3).state == OperationState.RUNNING


def test_what_is_put_back_needs_nobody_and_counts_for_nothing(cast: Cast, critical: Pool) -> None:
    DeadLetter.objects.update(state=DeadLetterState.DISCARDED, shelved_until=timezone.now() + timedelta(days=1))
    chosen = Selection(filter=DeadLetterFilter(state="discarded"))
    back = restore_create(actor=actor(cast.bob), selection=chosen, reason="They are needed")
    assert (back.state, back.frozen_count) == (OperationState.RUNNING, 10)
    DeadLetter.objects.update(state=DeadLetterState.OPEN)
    assert requeue(actor(cast.bob), 0, LIMIT).state == OperationState.RUNNING


def test_again_needs_an_approval_of_its_own(cast: Cast, critical: Pool) -> None:
    row = requeue(actor(cast.bob), 0, 5)
    operation_approve(actor=actor(cast.ada), operation=row, reason="Fine")
    sent(row).items.update(effect="failed_again")
    again = operation_again(actor=actor(cast.bob), operation=row, reason="Mended now")
    assert (again.state, again.frozen_count, again.again_of) == (OperationState.AWAITING, 5, row)


@pytest.mark.parametrize(
    ("criticality", "limit", "above"),
    [("critical", None, 1000), ("standard", None, None), ("low", None, None), ("critical", 0, 0), ("low", 7, 7)],
)
def test_the_limit_follows_the_criticality(criticality: str, limit: int | None, above: int | None) -> None:
    assert Pool(criticality=criticality, approval_limit=limit).approved_above == above


def change(who: Actor, pool: Pool, **values: object) -> Pool:
    same = {name: getattr(pool, name) for name in ("name", "description", "runbook_url", "criticality")}
    same |= {"approval_limit": pool.approval_limit, "poison_after": pool.poison_after}
    return pool_change(actor=who, pool=pool, expected_version=None, **(same | values))  # type: ignore[arg-type]


def test_tightening_takes_the_right_to_change_the_pool(cast: Cast, payments: Pool) -> None:
    tight = change(actor(cast.alice), payments, approval_limit=5)
    event = Event.objects.latest("pk")
    assert (event.action, event.before["approval_limit"], event.after["approval_limit"]) == ("pool.changed", "", "5")
    with pytest.raises(Denied):
        change(actor(cast.bob), tight, approval_limit=1)


@pytest.mark.parametrize("values", [{"approval_limit": 6}, {"approval_limit": None}])
def test_loosening_takes_the_right_to_approve_as_well(cast: Cast, payments: Pool, values: dict[str, object]) -> None:
    tight = change(actor(cast.alice), payments, approval_limit=5)
    with pytest.raises(Denied, match=APPROVE_OPERATIONS):
        change(actor(cast.alice), tight, **values)
    assert Pool.objects.get().approval_limit == 5
    change(actor(cast.ada), tight, **values)
    assert Pool.objects.get().approval_limit == values["approval_limit"]


def test_lowering_the_criticality_is_loosening(cast: Cast, payments: Pool) -> None:
    tight = change(actor(cast.alice), payments, criticality=Criticality.CRITICAL)
    with pytest.raises(Denied, match=APPROVE_OPERATIONS):
        change(actor(cast.alice), tight, criticality=Criticality.LOW)
    change(actor(cast.alice), tight, criticality=Criticality.LOW, approval_limit=1000)


def test_the_approver_needs_no_right_to_requeue(cast: Cast, critical: Pool) -> None:
    from pools.permissions import role_group

    cast.vera.groups.set([role_group(cast.payments, "approver")])
    row = requeue(actor(cast.bob), 0, 5)
    assert not cast.vera.has_perm(f"pools.{REQUEUE}", critical)
    assert operation_approve(actor=actor(cast.vera), operation=row, reason="Fine").state == OperationState.RUNNING
