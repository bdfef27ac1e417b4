"""What an operation freezes: exactly the set that was shown, once, with a digest that anybody can compute."""

import hashlib

import pytest

from audit.models import Event
from pools.models import DeadLetter, DeadLetterState, FailureGroup, Operation, OutboxMessage, Pool
from pools.operations import Selection, requeue_create
from pools.operations.errors import Conflict, Refused
from pools.operations.selection import MAX_IDS
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import failed, numbered, pks
from tests.operations.conftest import Made
from tests.support import factories as make
from tests.support.cast import Cast, actor


def test_the_ids_are_frozen_oldest_failure_first(payments: Pool, requeue: Made) -> None:
    failed(payments, "b", "a", "c", minutes=10)
    failed(payments, "older", title="KeyError: 'x'", minutes=20)
    operation = requeue()
    items = list(operation.items.values_list("position", "job_id", "queue", "outcome"))
    assert [job_id for _, job_id, _, _ in items] == ["older", "b", "a", "c"]
    assert [position for position, _, _, _ in items] == [1, 2, 3, 4]
    assert {(queue, outcome) for _, _, queue, outcome in items} == {("payments", "pending")}
    failed(payments, "later", title="ValueError: y")
    assert operation.items.count() == operation.frozen_count == 4


def test_the_digest_is_of_the_sorted_ids_one_a_line(payments: Pool, requeue: Made) -> None:
    """Sorted by their UTF-8 bytes, whatever the database's collation says."""
    ids = ["b", "B", "a-1", "a1", "ä", "Z", "_", "10", "9", "\U0001f600"]
    failed(payments, *ids)
    lines = sorted(job_id.encode() for job_id in ids)
    expected = hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
    assert requeue().ids_sha256 == expected


def test_only_open_ones_are_taken(payments: Pool, requeue: Made) -> None:
    failed(payments, "a", "b")
    DeadLetter.objects.filter(job_id="b").update(state=DeadLetterState.DISCARDED)
    assert requeue("a", "b").frozen_count == 1


def test_a_changed_set_leaves_no_trace(cast: Cast, payments: Pool) -> None:
    failed(payments, "a", "b")
    with pytest.raises(Conflict) as conflict:
        requeue_create(
            actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter()), reason="x", expected_count=3
        )
    assert conflict.value.current == 2
    assert not Operation.objects.exists() and not OutboxMessage.objects.exists() and not Event.objects.exists()


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(ids=(1,), filter=DeadLetterFilter()),
        Selection(ids=tuple(range(MAX_IDS + 1))),
        Selection(filter=DeadLetterFilter(since="soon")),
        Selection(filter=DeadLetterFilter(q="matches nothing")),
    ],
)
def test_a_selection_that_will_not_do(cast: Cast, payments: Pool, selection: Selection) -> None:
    failed(payments, "a")
    with pytest.raises(Refused, match="Nothing was changed"):
        requeue_create(actor=actor(cast.bob), selection=selection, reason="x")
    assert not Operation.objects.exists() and not Event.objects.exists()


def test_one_operation_speaks_to_one_broker(cast: Cast, payments: Pool) -> None:
    failed(payments, "a")
    failed(make.pool(cast.payments, "far", broker="eu"), "b", broker="eu")
    with pytest.raises(Refused, match="several brokers"):
        requeue_create(actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter()), reason="x")
    assert not Operation.objects.exists()


def test_ten_thousand_at_once(payments: Pool, requeue: Made) -> None:
    failed(payments, *numbered(10_000))
    operation = requeue()
    assert operation.frozen_count == 10_000
    assert operation.items.count() == 10_000
    assert FailureGroup.objects.get().open_count == 10_000


def test_many_named_one_by_one(payments: Pool, cast: Cast) -> None:
    ids = numbered(3000)
    failed(payments, *ids)
    chosen = Selection(ids=tuple(pks(*ids)))
    operation = requeue_create(actor=actor(cast.bob), selection=chosen, reason="x", expected_count=3000)
    assert operation.selection == {"ids": 3000}
