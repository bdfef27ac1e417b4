import threading

import pytest
from django.db import connection, transaction

from audit.merkle import leaf_hash
from audit.models import Event, Leaf, Pending
from audit.sequencer import BATCH, Sequencer
from tests.audit.cast import happened, logged


@pytest.mark.django_db
def test_it_integrates_in_order_without_a_gap() -> None:
    first = [happened(reason=str(number)) for number in range(3)]
    assert Sequencer().tick() == 3
    later = happened()
    assert Sequencer().tick() == 1

    leaves = list(Leaf.objects.order_by("index"))
    assert [leaf.index for leaf in leaves] == [0, 1, 2, 3]
    assert [leaf.event_id for leaf in leaves] == [event.pk for event in [*first, later]]
    assert all(bytes(leaf.hash) == leaf_hash(bytes(leaf.event.leaf)) for leaf in leaves)
    assert not Pending.objects.exists()


@pytest.mark.django_db
def test_an_idle_tick_does_nothing() -> None:
    happened()
    Sequencer().tick()
    assert Sequencer().tick() == 0
    assert Leaf.objects.count() == 1


@pytest.mark.django_db
def test_an_event_that_is_marked_again_keeps_its_place_and_holds_nothing_up() -> None:
    """The application's role may insert into the table, so a stolen password may do this."""
    first = logged()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO audit_pending (event_id) VALUES (%s), (%s)", [first.pk, first.pk + 1_000_000])
    assert Sequencer().tick() == 0
    assert list(Pending.objects.values_list("event_id", flat=True)) == [first.pk + 1_000_000], "of no event at all"

    Pending.objects.create(event=first)
    later = happened()
    assert Sequencer().tick() == 1
    assert list(Leaf.objects.order_by("index").values_list("event_id", flat=True)) == [first.pk, later.pk]
    assert not Pending.objects.filter(event_id__lte=later.pk).exists()


@pytest.mark.django_db
def test_marks_of_no_event_hold_nothing_up_however_many_there_are() -> None:
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO audit_pending (event_id) VALUES (%s)", [(-n,) for n in range(1, BATCH + 5)])
    event = happened()
    assert Sequencer().tick() == 1 and Sequencer().tick() == 0
    assert list(Leaf.objects.values_list("event_id", flat=True)) == [event.pk]


@pytest.mark.django_db
def test_more_than_a_batch_is_one_tick() -> None:
    pattern = happened()
    Event.objects.bulk_create(Event(leaf=pattern.leaf, **_columns(pattern)) for _ in range(BATCH))

    assert Sequencer().tick() == BATCH + 1
    assert set(Leaf.objects.values_list("index", flat=True)) == set(range(BATCH + 1))


def _columns(event: Event) -> dict[str, object]:
    left_out = {"id", "uid", "leaf"}
    return {field.name: getattr(event, field.name) for field in Event._meta.fields if field.name not in left_out}


@pytest.mark.postgresql  # SQLite has one writer: ids follow commits
@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_commits_late_is_not_skipped() -> None:
    drawn, commit = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                happened(reason="late")
                drawn.set()
                assert commit.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert drawn.wait(30)
    with transaction.atomic():
        happened(reason="early")
    assert Sequencer().tick() == 1
    commit.set()
    thread.join()
    assert Sequencer().tick() == 1

    placed = Leaf.objects.order_by("index").values_list("index", "event__reason")
    assert list(placed) == [(0, "early"), (1, "late")]
    assert Event.objects.get(reason="late").pk < Event.objects.get(reason="early").pk
