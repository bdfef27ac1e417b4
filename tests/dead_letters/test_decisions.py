"""What people decide about failure groups: by whom, from which state, all or none, and what is told of it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from audit.models import Event
from audit.sentences import sentence
from pools import operations as verbs
from pools.models import FailureGroup, GroupNote, GroupState, Pool, PoolKind
from pools.models.failure_group import SNOOZED, TRANSITIONS
from pools.operations.errors import Conflict, Refused
from pools.permissions import VIEW, Denied
from pools.selectors.dead_letters import DeadLetterFilter, matching_groups
from pools.selectors.group_life import SHOWN_STATES, badge
from tests.support import factories as make
from tests.support.cast import Cast, actor

WHY = {"reason": "The gateway is down"}
MOVES: dict[str, Callable[..., Any]] = {
    "acknowledge": verbs.group_acknowledge,
    "resolve": verbs.group_resolve,
    "reopen": verbs.group_reopen,
}
ALL: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (verbs.group_acknowledge, WHY, "acknowledged"),
    (verbs.group_snooze, WHY | {"failures": 5}, "snoozed"),
    (verbs.group_unsnooze, WHY, "unsnoozed"),
    (verbs.group_resolve, WHY, "resolved"),
    (verbs.group_reopen, WHY, "reopened"),
    (verbs.group_assign, {"owner": "bob"}, "assigned"),
    (verbs.group_note, {"text": "Look at v42"}, "noted"),
    (verbs.group_set_runbook, {"url": "https://runbooks.example/"}, "runbook_set"),
]
EVERY_VERB = pytest.mark.parametrize(("run", "said", "event"), ALL, ids=[event for _, _, event in ALL])


@pytest.fixture
def group(payments: Pool) -> FailureGroup:
    return make.failure_group(payments, "shop.errors.CardDeclined: no")


def fresh(group: FailureGroup) -> FailureGroup:
    return FailureGroup.objects.select_related("pool", "owner").get(pk=group.pk)


def told() -> list[str]:
    return [sentence(event) for event in Event.objects.order_by("pk")]


@pytest.mark.parametrize("verb", MOVES)
@pytest.mark.parametrize("state", GroupState)
def test_each_state_takes_its_own_verbs(cast: Cast, group: FailureGroup, state: GroupState, verb: str) -> None:
    FailureGroup.objects.update(state=state)
    after = TRANSITIONS[state].get(verb)
    if after is None:
        with pytest.raises(Refused, match="Nothing was changed"):
            MOVES[verb](actor=actor(cast.bob), ids=[group.pk], **WHY)
        assert fresh(group).state == state and not Event.objects.exists() and not GroupNote.objects.exists()
        return
    MOVES[verb](actor=actor(cast.bob), ids=[group.pk], **WHY)
    found, event = fresh(group), Event.objects.get()
    assert (found.state, found.revision) == (after, 2) and found.state_at is not None
    assert (event.before, event.after, event.reason) == ({"state": state}, {"state": after}, "The gateway is down")
    note = GroupNote.objects.get()
    assert (note.author_name, note.text) == ("bob", "The gateway is down")


def test_the_log_says_what_was_decided_and_holds_no_message(cast: Cast, group: FailureGroup) -> None:
    bob, ids = actor(cast.bob), [group.pk]
    verbs.group_acknowledge(actor=bob, ids=ids)
    verbs.group_assign(actor=bob, ids=ids, owner="alice")
    verbs.group_snooze(actor=bob, ids=ids, failures=50, **WHY)
    verbs.group_unsnooze(actor=bob, ids=ids)
    verbs.group_note(actor=bob, ids=ids, text="Look at v42")
    verbs.group_set_runbook(actor=bob, ids=ids, url="https://runbooks.example/")
    verbs.group_resolve(actor=bob, ids=ids, reason="Fixed in v43")
    verbs.group_reopen(actor=bob, ids=ids)
    it = "CardDeclined: in shop.payments.capture in payments"
    assert [line.replace(it, "it") for line in told()] == [
        "bob acknowledged it",
        "bob gave it to alice",
        "bob snoozed it until 50 more failures",
        "bob ended the snooze of it",
        "bob added a note to it",
        "bob changed the runbook of it",
        "bob resolved it",
        "bob reopened it",
    ]
    assert [(note.did, note.text) for note in reversed(GroupNote.objects.all())] == [
        ("acknowledged it", ""),
        ("gave it to alice", ""),
        ("snoozed it until 50 more failures", "The gateway is down"),
        ("ended the snooze", ""),
        ("", "Look at v42"),
        ("changed the runbook", ""),
        ("resolved it", "Fixed in v43"),
        ("reopened it", ""),
    ]


@EVERY_VERB
def test_the_wrong_role_is_refused_and_recorded(
    cast: Cast, group: FailureGroup, run: Callable[..., Any], said: dict[str, Any], event: str
) -> None:
    before = FailureGroup.objects.values().get()
    with pytest.raises(Denied):
        run(actor=actor(cast.vera), ids=[group.pk], **said)
    assert FailureGroup.objects.values().get() == before and not GroupNote.objects.exists()
    denied = Event.objects.get()
    assert (denied.action, denied.outcome) == (f"failure_group.{event}", "denied")
    assert denied.detail == {"permission": "requeue_dead_letters"}


@EVERY_VERB
def test_outsiders_learn_nothing(
    cast: Cast, group: FailureGroup, run: Callable[..., Any], said: dict[str, Any], event: str
) -> None:
    for ids in ([group.pk], [424242]):
        with pytest.raises(FailureGroup.DoesNotExist):
            run(actor=actor(cast.charlie), ids=ids, **said)
    assert not Event.objects.exists() and fresh(group).revision == 1


@EVERY_VERB
def test_what_changed_meanwhile_is_not_overwritten(
    cast: Cast, group: FailureGroup, run: Callable[..., Any], said: dict[str, Any], event: str
) -> None:
    verbs.group_assign(actor=actor(cast.alice), ids=[group.pk], owner="alice")
    with pytest.raises(Conflict) as conflict:
        run(actor=actor(cast.bob), ids=[group.pk], expected_version=1, **said)
    assert conflict.value.current == 2
    assert fresh(group).revision == 2 and Event.objects.count() == 1


def test_several_change_together_or_not_at_all(cast: Cast, payments: Pool, reports: Pool) -> None:
    groups = [make.failure_group(pool, f"Error{n}: x") for n, pool in enumerate((payments, payments, reports))]
    ids = [group.pk for group in groups]
    FailureGroup.objects.filter(pk=ids[2]).update(state=GroupState.RESOLVED)
    with pytest.raises(Refused, match="Error2"):
        verbs.group_acknowledge(actor=actor(cast.bob), ids=ids, expected_version=3)
    assert not Event.objects.exists()
    FailureGroup.objects.filter(pk=ids[2]).update(state=GroupState.REGRESSED)
    verbs.group_acknowledge(actor=actor(cast.bob), ids=[*ids, ids[0]], expected_version=3)
    assert {event.target_id for event in Event.objects.all()} == {str(pk) for pk in ids}
    assert set(FailureGroup.objects.values_list("state", "revision")) == {("acknowledged", 2)}
    with pytest.raises(Conflict):
        verbs.group_resolve(actor=actor(cast.bob), ids=ids, expected_version=3, **WHY)


def test_a_right_on_one_pool_is_not_enough_for_another(cast: Cast, payments: Pool, hidden: Pool) -> None:
    from guardian.shortcuts import assign_perm

    assign_perm(VIEW, cast.bob.groups.get(), hidden)
    ids = [make.failure_group(pool, f"Error{pool.pk}").pk for pool in (payments, hidden)]
    with pytest.raises(Denied, match="on hidden"):
        verbs.group_acknowledge(actor=actor(cast.bob), ids=ids)
    assert set(FailureGroup.objects.values_list("state", flat=True)) == {"new"}
    with pytest.raises(Refused, match="Nobody of this name may see hidden"):
        verbs.group_assign(actor=superuser(), ids=ids, owner="alice")


def superuser() -> Any:
    return actor(User.objects.create(username="root", is_superuser=True))


@pytest.mark.parametrize(
    ("run", "said", "field"),
    [
        (verbs.group_resolve, {"reason": "  "}, "reason"),
        (verbs.group_resolve, {"reason": "x" * 2001}, "reason"),
        (verbs.group_snooze, {"reason": "", "failures": 5}, "reason"),
        (verbs.group_snooze, WHY, "until"),
        (verbs.group_snooze, WHY | {"failures": 5, "next_version": True}, "until"),
        (verbs.group_snooze, WHY | {"failures": 0}, "failures"),
        (verbs.group_snooze, WHY | {"failures": 10**10}, "failures"),
        (verbs.group_snooze, WHY | {"until": make.ago(seconds=1)}, "until"),
        (verbs.group_snooze, WHY | {"until": make.ago(days=-400)}, "until"),
        (verbs.group_unsnooze, {}, ""),
        (verbs.group_assign, {"owner": "charlie"}, "owner"),
        (verbs.group_assign, {"owner": "nobody-at-all"}, "owner"),
        (verbs.group_assign, {"owner": "idle"}, "owner"),
        (verbs.group_note, {"text": " \n"}, "text"),
        (verbs.group_note, {"text": "x" * 2001}, "text"),
        (verbs.group_note, {"text": "a\x00b"}, "text"),
        (verbs.group_set_runbook, {"url": "javascript:alert(1)"}, "url"),
        (verbs.group_set_runbook, {"url": "ftp://runbooks.example/"}, "url"),
        (verbs.group_set_runbook, {"url": "https://runbooks.example/" + "x" * 500}, "url"),
        (verbs.group_set_runbook, {"url": "runbooks"}, "url"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(
    cast: Cast, group: FailureGroup, run: Callable[..., Any], said: dict[str, Any], field: str
) -> None:
    idle = User.objects.create(username="idle", is_active=False)
    idle.groups.set(cast.bob.groups.all())
    with pytest.raises(Refused, match="Nothing was changed") as refused:
        run(actor=actor(cast.bob), ids=[group.pk], **said)
    assert refused.value.field == field
    assert fresh(group).revision == 1 and not Event.objects.exists() and not GroupNote.objects.exists()


def test_no_groups_and_too_many_are_refused(cast: Cast) -> None:
    for ids in ([], range(501)):
        with pytest.raises(Refused) as refused:
            verbs.group_acknowledge(actor=actor(cast.bob), ids=ids)
        assert refused.value.field == "group"


def shown(cast: Cast, group: FailureGroup) -> str:
    """The state that the row says, and that the filters agree with, on the group and on its dead letters."""
    says = fresh(group).shown_state
    for state in SHOWN_STATES:
        found = matching_groups(actor(cast.bob), DeadLetterFilter(group_state=state))
        assert list(found) == ([group] if state == says else []), state
    return says


def test_a_snooze_until_a_time_ends_by_itself(cast: Cast, group: FailureGroup) -> None:
    FailureGroup.objects.update(state=GroupState.REGRESSED)
    until = timezone.now() + timedelta(hours=1)
    verbs.group_snooze(actor=actor(cast.bob), ids=[group.pk], until=until, **WHY)
    assert shown(cast, group) == SNOOZED and fresh(group).state == GroupState.REGRESSED
    assert badge(fresh(group)).text.startswith("Snoozed until ")
    FailureGroup.objects.update(snoozed_until=make.ago(seconds=1))
    assert shown(cast, group) == GroupState.REGRESSED


def test_a_snooze_ends_with_so_many_more_failures(cast: Cast, group: FailureGroup) -> None:
    FailureGroup.objects.update(total_count=7)
    verbs.group_snooze(actor=actor(cast.bob), ids=[group.pk], failures=2, **WHY)
    FailureGroup.objects.update(total_count=8)
    assert shown(cast, group) == SNOOZED and badge(fresh(group)).text == "Snoozed for 1 more"
    FailureGroup.objects.update(total_count=9)
    assert shown(cast, group) == GroupState.NEW


def test_a_snooze_ends_when_the_next_version_is_published(cast: Cast, group: FailureGroup, payments: Pool) -> None:
    """Not when it is only waiting for its signature."""
    verbs.group_snooze(actor=actor(cast.bob), ids=[group.pk], next_version=True, **WHY)
    Pool.objects.filter(pk=payments.pk).update(config_number=2)
    assert shown(cast, group) == SNOOZED and badge(fresh(group)).text == "Snoozed until v2"
    Pool.objects.filter(pk=payments.pk).update(published_number=2)
    assert shown(cast, group) == GroupState.NEW


def test_only_managed_pools_have_a_next_version(cast: Cast, group: FailureGroup) -> None:
    Pool.objects.update(kind=PoolKind.ATTACHED)
    with pytest.raises(Refused) as refused:
        verbs.group_snooze(actor=actor(cast.bob), ids=[group.pk], next_version=True, **WHY)
    assert refused.value.field == "next_version"


def test_snoozing_again_replaces_the_end_and_unsnoozing_lifts_it(cast: Cast, group: FailureGroup) -> None:
    bob, ids = actor(cast.bob), [group.pk]
    verbs.group_snooze(actor=bob, ids=ids, failures=5, **WHY)
    verbs.group_snooze(actor=bob, ids=ids, next_version=True, **WHY)
    assert fresh(group).snoozed_total is None
    verbs.group_unsnooze(actor=bob, ids=ids)
    assert shown(cast, group) == GroupState.NEW
    with pytest.raises(Refused, match="not snoozed"):
        verbs.group_unsnooze(actor=bob, ids=ids)


@pytest.mark.parametrize("verb", ["acknowledge", "resolve"])
def test_a_decision_ends_a_snooze(cast: Cast, group: FailureGroup, verb: str) -> None:
    verbs.group_snooze(actor=actor(cast.bob), ids=[group.pk], failures=5, **WHY)
    MOVES[verb](actor=actor(cast.bob), ids=[group.pk], **WHY)
    assert shown(cast, group) == TRANSITIONS[GroupState.NEW][verb]


def test_what_is_resolved_is_not_snoozed(cast: Cast, group: FailureGroup) -> None:
    FailureGroup.objects.update(state=GroupState.RESOLVED)
    with pytest.raises(Refused, match="nothing to snooze"):
        verbs.group_snooze(actor=actor(cast.bob), ids=[group.pk], failures=5, **WHY)


def test_an_owner_comes_and_goes(cast: Cast, group: FailureGroup) -> None:
    bob, ids = actor(cast.bob), [group.pk]
    verbs.group_assign(actor=bob, ids=ids, owner="vera")
    assert fresh(group).owner == cast.vera
    verbs.group_assign(actor=bob, ids=ids, owner="vera")
    verbs.group_assign(actor=bob, ids=ids, owner="")
    assert fresh(group).owner is None
    assert [event.detail for event in Event.objects.order_by("pk")] == [{"owner": "vera"}, {"owner": "nobody"}]
    assert [event.before for event in Event.objects.order_by("pk")] == [{}, {"owner": "vera"}]
    verbs.group_assign(actor=bob, ids=ids, owner="vera")
    cast.vera.delete()
    assert fresh(group).owner is None


def test_a_runbook_of_its_own_goes_before_that_of_the_pool(cast: Cast, group: FailureGroup) -> None:
    Pool.objects.update(runbook_url="https://runbooks.example/pool")
    bob, ids = actor(cast.bob), [group.pk]
    assert fresh(group).runbook == "https://runbooks.example/pool"
    verbs.group_set_runbook(actor=bob, ids=ids, url=" https://runbooks.example/cause ")
    assert fresh(group).runbook == "https://runbooks.example/cause"
    verbs.group_set_runbook(actor=bob, ids=ids, url="https://runbooks.example/cause")
    verbs.group_set_runbook(actor=bob, ids=ids, url="")
    assert fresh(group).runbook == "https://runbooks.example/pool" and Event.objects.count() == 2
