"""Setting aside and restoring: what the broker holds, what the read model says, and what is refused."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from audit.models import Event
from audit.sentences import sentence
from pools.controller.lease import LeaderLease
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.controller.sweeper import Sweeper
from pools.models import DeadLetter, DeadLetterState, FailureGroup, Operation, OperationState, Pool
from pools.operations import (
    Selection,
    archive_create,
    discard_create,
    operation_pause,
    operation_undo,
    quarantine_create,
    requeue_create,
    restore_create,
)
from pools.operations.errors import Conflict, Refused
from pools.operations.execute import CHUNK, _next_chunk, run_operation
from pools.operations.sending import send
from pools.permissions import Denied
from pools.selectors.dead_letters import DeadLetterFilter
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.dead_letters.letters import numbered, pks
from tests.operations.conftest import Made
from tests.operations.test_execute import letters, outcomes, sent_but_not_settled
from tests.support.cast import Cast, actor

type Dead = Callable[..., FailureGroup]
type Verb = Callable[..., Operation]

VERBS = [(discard_create, "discarded"), (quarantine_create, "quarantined"), (archive_create, "archived")]
DAYS = {"discarded": 7, "archived": 90}


@pytest.fixture
def do(cast: Cast) -> Verb:
    """Bob freezes an operation of the verb over these jobs, or what the filter matches, and it is carried out."""

    def run(verb: Verb, *ids: str, who: str = "bob", **wanted: str) -> Operation:
        chosen = Selection(ids=tuple(pks(*ids))) if ids else Selection(filter=DeadLetterFilter(**wanted))
        row = verb(actor=actor(getattr(cast, who)), selection=chosen, reason="Not now")
        run_operation(row.pk)
        row.refresh_from_db()
        return row

    return run


def without_queues(client: redis.Redis) -> dict[str, Any]:
    """What RQ has but the set of queues' names."""
    return {key: value for key, value in dump(client).items() if key.startswith("rq:") and key != "rq:queues"}


@pytest.mark.parametrize(("verb", "state"), VERBS)
def test_set_aside_and_restored(dead: Dead, do: Verb, client: redis.Redis, verb: Verb, state: str) -> None:
    ids = numbered(CHUNK + 3)
    group = dead(*ids)
    before = dump(client)
    row = do(verb)
    assert (row.state, outcomes(row)) == (OperationState.ENDED, {state: len(ids)})
    assert set(letters().values()) == {state} and without_queues(client) == {}
    group.refresh_from_db()
    assert group.open_count == 0
    letter = DeadLetter.objects.earliest("pk")
    sent = row.items.get(position=1).at
    assert sent is not None and letter.is_restorable
    assert letter.shelved_until == (sent + timedelta(days=DAYS[state]) if state in DAYS else None)

    back = do(restore_create, state=state)
    assert (back.source, outcomes(back)) == (state, {"restored": len(ids)})
    assert set(letters().values()) == {"open"} and dump(client) == before
    group.refresh_from_db()
    letter.refresh_from_db()
    assert group.open_count == len(ids) and (letter.shelved_until, letter.closed_at) == (None, None)
    told = [sentence(event) for event in Event.objects.filter(action="operation.restore_ended")]
    assert told == [f"Console jobs restored {len(ids):,} dead letters in payments"]


@pytest.mark.parametrize(("verb", "state"), VERBS)
def test_a_whole_operation_is_undone(cast: Cast, dead: Dead, do: Verb, verb: Verb, state: str) -> None:
    """Only what it took away itself, and what is still there."""
    dead("a", "b", "c", "d")
    do(verb, "d")
    row = do(verb, "a", "b", "c")
    do(restore_create, "c")
    undo = operation_undo(actor=actor(cast.bob), operation=row, reason="The wrong group")
    assert (undo.kind, undo.frozen_count, undo.selection) == ("restore", 2, {"shelved_by": row.pk})
    run_operation(undo.pk)
    assert letters() == {"a": "open", "b": "open", "c": "open", "d": state}
    with pytest.raises(Refused, match="that is still kept matches"):
        operation_undo(actor=actor(cast.bob), operation=row, reason="Again")


def test_what_cannot_be_undone(cast: Cast, dead: Dead, do: Verb, discard: Made) -> None:
    dead("a", "b", "c")
    with pytest.raises(Refused, match="Only a discard, a quarantine or an archive"):
        operation_undo(actor=actor(cast.bob), operation=do(requeue_create, "a"), reason="x")
    row = discard("b")
    with pytest.raises(Refused, match="pause or cancel it first"):
        operation_undo(actor=actor(cast.bob), operation=row, reason="x")
    operation_pause(actor=actor(cast.bob), operation=row)
    with pytest.raises(Refused, match="No discarded dead letter"):
        operation_undo(actor=actor(cast.bob), operation=row, reason="x")
    done = do(discard_create, "c")
    for name in ("vera", "otto", "charlie"):
        with pytest.raises(Denied):
            operation_undo(actor=actor(getattr(cast, name)), operation=done, reason="x")
    assert letters()["c"] == "discarded" and Operation.objects.filter(kind="restore").count() == 0


def test_without_a_trash_a_discard_deletes(dead: Dead, do: Verb, client: redis.Redis, settings: Settings) -> None:
    settings.POOLWARDEN_TRASH_DAYS = 0
    dead("a", "b")
    do(discard_create, "a")
    do(quarantine_create, "b")
    do(discard_create, "b", state="quarantined")
    assert letters() == {"a": "discarded", "b": "discarded"} and not client.keys("*:a") and not client.keys("pw:*")
    with pytest.raises(Refused, match="No discarded dead letter that is still kept"):
        do(restore_create, state="discarded")


def test_from_the_quarantine_into_the_trash_and_back(dead: Dead, do: Verb, client: redis.Redis) -> None:
    group = dead("a", "b")
    before = dump(client)
    do(quarantine_create)
    thrown = do(discard_create, state="quarantined")
    assert (thrown.source, outcomes(thrown)) == ("quarantined", {"discarded": 2})
    letter = DeadLetter.objects.earliest("pk")
    assert (letter.state, letter.is_restorable) == ("discarded", True) and letter.shelved_until
    assert all(client.ttl(key) > 0 for key in client.keys("pw:shelf:*"))
    do(restore_create, state="discarded")
    group.refresh_from_db()
    assert dump(client) == before and group.open_count == 2


def test_each_outcome_of_a_restore_is_true(cast: Cast, dead: Dead, do: Verb, client: redis.Redis) -> None:
    """Meanwhile one's time was over, one's id was given to another job, and a colleague restored a third."""
    group = dead("fine", "expired", "taken", "other")
    do(discard_create)
    row = restore_create(
        actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter(state="discarded")), reason="Needed"
    )
    client.delete(*client.keys("pw:shelf:*:expired"))
    client.hset("rq:job:taken", "status", "queued")
    do(restore_create, "other")
    run_operation(row.pk)
    items = dict(row.items.values_list("job_id", "outcome"))
    assert items == {"fine": "restored", "expired": "expired", "taken": "taken", "other": "not_shelved"}
    assert letters() == {"fine": "open", "expired": "discarded", "taken": "discarded", "other": "open"}
    assert not DeadLetter.objects.get(job_id="expired").is_restorable
    assert DeadLetter.objects.get(job_id="taken").is_restorable
    group.refresh_from_db()
    assert group.open_count == 2


def test_what_an_eviction_took_from_the_quarantine_is_gone(dead: Dead, do: Verb, client: redis.Redis) -> None:
    dead("a")
    do(quarantine_create)
    client.delete(*client.keys("pw:shelf:*"))
    assert outcomes(do(restore_create, state="quarantined")) == {"expired": 1} and letters() == {"a": "gone"}


@pytest.mark.parametrize(("verb", "state"), VERBS)
def test_a_death_between_broker_and_database_is_made_good(
    cast: Cast, dead: Dead, client: redis.Redis, verb: Verb, state: str
) -> None:
    group, bob = dead("a", "b", "c"), actor(cast.bob)
    before = dump(client)
    row = verb(actor=bob, selection=Selection(filter=DeadLetterFilter()), reason="Not now")
    sent_but_not_settled(row)
    assert outcomes(row) == {"pending": 3}
    run_operation(row.pk)
    assert outcomes(row) == {state: 3} and set(letters().values()) == {state}
    back = restore_create(actor=bob, selection=Selection(filter=DeadLetterFilter(state=state)), reason="Needed")
    sent_but_not_settled(back)
    run_operation(back.pk)
    group.refresh_from_db()
    assert outcomes(back) == {"restored": 3} and dump(client) == before and group.open_count == 3


def test_two_operators_restore_the_same_jobs_at_once(cast: Cast, dead: Dead, do: Verb, client: redis.Redis) -> None:
    group = dead("a", "b", "c")
    do(discard_create)
    chosen = [Selection(ids=tuple(pks(*ids))) for ids in (("a", "b"), ("b", "c"))]
    rows = [restore_create(actor=actor(cast.bob), selection=one, reason="Needed") for one in chosen]
    for row in rows:
        run_operation(row.pk)
    assert [outcomes(row) for row in rows] == [{"restored": 2}, {"not_shelved": 1, "restored": 1}]
    group.refresh_from_db()
    assert group.open_count == 3 == client.zcard("rq:failed:payments")


class TestScanner:
    """The read model follows the broker, and what was set aside is not lost."""

    @pytest.fixture
    def scan(self, db: None) -> Callable[[], None]:
        lease = LeaderLease()
        loops = [Sampler(lease), Scanner(lease)]

        def tick() -> None:
            for _ in range(3):
                for loop in loops:
                    assert lease.renew()
                    loop.tick()

        return tick

    def test_what_was_set_aside_stays_so(self, dead: Dead, do: Verb, scan: Callable[[], None]) -> None:
        dead("a", "b", "c", "d")
        for (verb, _), job_id in zip(VERBS, "abc", strict=True):
            do(verb, job_id)
        scan()
        assert letters() == {"a": "discarded", "b": "quarantined", "c": "archived", "d": "open"}

    def test_a_new_job_with_the_id_is_a_dead_letter_of_its_own(
        self, dead: Dead, do: Verb, scan: Callable[[], None], client: redis.Redis
    ) -> None:
        dead("a")
        DeadLetter.objects.update(came_back=2)
        do(quarantine_create)
        write_failed(client, "a", queue="payments", created_at="2026-05-05T05:05:05.000005Z")
        scan()
        letter = DeadLetter.objects.get()
        assert (letter.state, letter.came_back, letter.shelved_until) == ("open", 0, None)
        assert sum(FailureGroup.objects.values_list("open_count", flat=True)) == 1
        do(discard_create)
        assert outcomes(do(restore_create, state="discarded")) == {"restored": 1}

    def test_one_that_the_scanner_saw_first_is_counted_once(
        self, cast: Cast, dead: Dead, do: Verb, scan: Callable[[], None]
    ) -> None:
        """Between the broker and the database it lies in the registry again."""
        dead("a")
        do(discard_create)
        selection = Selection(filter=DeadLetterFilter(state="discarded"))
        back = restore_create(actor=actor(cast.bob), selection=selection, reason="Needed")
        sent_but_not_settled(back)
        scan()
        assert letters() == {"a": "open"}
        run_operation(back.pk)
        assert outcomes(back) == {"restored": 1} and letters() == {"a": "open"}
        assert sum(FailureGroup.objects.values_list("open_count", flat=True)) == 1

    def test_a_crash_that_the_scanner_saw_as_gone_is_told_as_it_was(
        self, dead: Dead, discard: Made, scan: Callable[[], None]
    ) -> None:
        dead("a", "b")
        row = discard("a")
        sent_but_not_settled(row)
        scan()
        assert letters()["a"] == "gone"
        run_operation(row.pk)
        letter = DeadLetter.objects.get(job_id="a")
        assert (letter.state, letter.is_restorable) == ("discarded", True)


def test_an_archive_whose_time_is_over_is_gone(dead: Dead, do: Verb, settings: Settings) -> None:
    """A discarded one stays discarded, and neither is offered any more."""
    dead("a", "b", "c")
    do(archive_create, "a")
    do(discard_create, "b")
    do(quarantine_create, "c")
    DeadLetter.objects.exclude(shelved_until=None).update(shelved_until=timezone.now() - timedelta(seconds=1))
    lease = LeaderLease()
    assert lease.renew()
    Sweeper(lease).tick()
    assert letters() == {"a": "gone", "b": "discarded", "c": "quarantined"}
    with pytest.raises(Refused, match="still kept"):
        do(restore_create, state="discarded")


@pytest.mark.parametrize("state", ["open", "any", "gone", "requeued"])
def test_a_restore_must_say_from_where(cast: Cast, dead: Dead, state: str) -> None:
    dead("a")
    with pytest.raises(Refused, match="Restore takes what is discarded, quarantined or archived, not") as refused:
        restore_create(
            actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter(state=state)), reason="Needed"
        )
    assert refused.value.field == "filter.state" and not Operation.objects.exists()


def test_single_jobs_are_taken_from_one_place_at_a_time(dead: Dead, do: Verb) -> None:
    dead("a", "b", "c")
    do(quarantine_create, "b")
    assert do(discard_create, "a", "b", "c").frozen_count == 2
    row = do(restore_create, "a", "b", "c")
    assert (row.source, row.frozen_count) == ("discarded", 2)
    assert do(restore_create, "b").source == "quarantined"


@pytest.mark.parametrize(("verb", "state"), [*VERBS, (restore_create, "restored")])
def test_who_may_not(cast: Cast, dead: Dead, do: Verb, verb: Verb, state: str) -> None:
    dead("a")
    wanted = "open"
    if state == "restored":
        do(discard_create)
        wanted = "discarded"
    before, events = letters(), Event.objects.count()
    selection = Selection(filter=DeadLetterFilter(state=wanted))
    for name in ("vera", "otto"):
        with pytest.raises(Denied):
            verb(actor=actor(getattr(cast, name)), selection=selection, reason="x")
    with pytest.raises(Refused):
        verb(actor=actor(cast.charlie), selection=selection, reason="x")
    with pytest.raises(Refused):
        verb(actor=actor(cast.bob), selection=selection, reason=" ")
    with pytest.raises(Conflict):
        verb(actor=actor(cast.bob), selection=selection, reason="x", expected_count=2)
    assert letters() == before
    denied = list(Event.objects.order_by("pk")[events:])
    assert [(event.outcome, event.actor_name) for event in denied] == [("denied", "vera"), ("denied", "otto")]


def test_a_chunk_is_kept_from_the_time_it_was_sent(dead: Dead, archive: Made, client: redis.Redis) -> None:
    """So that broker and database agree on the moment, however often it is repeated."""
    dead("a")
    row, items, *_ = _next_chunk(archive().pk)
    send(row, items, "pw:moved:test")
    sent = row.sent_at
    assert sent is not None
    kept = client.pexpiretime("pw:shelf:job:a") / 1000
    assert abs(kept - (sent + timedelta(days=90)).timestamp()) < 0.01


@pytest.fixture
def archive(cast: Cast) -> Made:
    def create(*ids: str) -> Operation:
        chosen = Selection(filter=DeadLetterFilter())
        return archive_create(actor=actor(cast.bob), selection=chosen, reason="For the audit")

    return create


def test_the_pool_of_another_team_stays_hidden(cast: Cast, dead: Dead, do: Verb, payments: Pool) -> None:
    dead("a")
    do(discard_create)
    with pytest.raises(Refused, match="No discarded dead letter"):
        do(restore_create, who="charlie", state="discarded")
    assert letters() == {"a": DeadLetterState.DISCARDED}
