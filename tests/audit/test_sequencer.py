import json
import os
import subprocess
import sys
import threading
from itertools import groupby

import pytest
from django.db import connection, transaction

from audit.merkle import leaf_hash
from audit.models import Event, Leaf, Pending
from audit.sequencer import BATCH, Sequencer
from tests.audit.cast import happened


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
def test_more_than_a_batch_is_one_tick() -> None:
    pattern = happened()
    copies = Event.objects.bulk_create(Event(leaf=pattern.leaf, **_columns(pattern)) for _ in range(BATCH))
    Pending.objects.bulk_create(Pending(event=event) for event in copies)

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


@pytest.mark.timeout(150)
def test_kill_9_loses_nothing_and_doubles_nothing(own_database: str) -> None:
    environ = os.environ | {"POOLWARDEN_DATABASE_URL": own_database, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    command = [sys.executable, "-m", "tests.audit.crash_run", "10", "seed"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=140, check=False)
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    events = [json.loads(leaf) for _, _, leaf in result["leaves"]]
    uids = [event["id"] for event in events]

    assert result["errors"] == [] and result["pending"] == 0
    assert len(result["committed"]) >= 30
    assert [index for index, _, _ in result["leaves"]] == list(range(result["events"]))
    assert all(digest == leaf_hash(leaf.encode()).hex() for _, digest, leaf in result["leaves"])
    assert len(set(uids)) == len(uids)
    assert set(result["committed"]) <= set(uids)
    assert not set(result["rolled_back"]) & set(uids)
    # Each writer's events stand in the order in which it committed them.
    steps = sorted((event["reason"].split("/")[0], place) for place, event in enumerate(events))
    for _, places in groupby(steps, key=lambda step: step[0]):
        numbers = [int(events[place]["reason"].split("/")[1]) for _, place in places]
        assert numbers == sorted(numbers)
