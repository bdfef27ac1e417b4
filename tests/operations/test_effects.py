"""What a requeue came to: followed to the end of each job's next run, told once."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import redis
from django.apps import apps
from pytest_django import Settings
from rq import Queue

from audit.models import Event
from audit.sentences import sentence
from pools.broker.connection import Broker
from pools.controller import effects
from pools.controller.effects import Effects
from pools.controller.lease import LeaderLease
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import FailureGroup, Operation, Outcome, Pool
from pools.operations import operation_cancel
from pools.operations.execute import run_operation
from tests.api.calling import Caller
from tests.broker.jobs import fails_unless
from tests.dead_letters.letters import numbered
from tests.operations.conftest import Made
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in
from tests.support.in_process import InProcessWorker
from tests.support.installation import ROOT
from tests.support.valkey import free_port
from tests.support.waiting import wait_for

type Dead = Callable[..., FailureGroup]
type Look = Callable[[], None]
type Work = Callable[[], None]


@pytest.fixture
def lease(db: None) -> LeaderLease:
    return LeaderLease()


@pytest.fixture
def look(lease: LeaderLease, broker: Broker) -> Look:
    """One tick of the loop, by a controller that leads."""
    follower = Effects(lease)

    def tick() -> None:
        assert lease.renew()
        assert follower.tick() is False

    return tick


@pytest.fixture
def work(lease: LeaderLease, client: redis.Redis, payments: Pool) -> Work:
    """RQ's worker runs what waits; then the console learns what failed."""
    loops = [Sampler(lease), Scanner(lease)]

    def run() -> None:
        InProcessWorker([Queue("mail", connection=client)], connection=client).work(burst=True)
        for loop in loops:
            assert lease.renew()
            loop.tick()

    return run


def requeued(operation: Operation) -> Operation:
    run_operation(operation.pk)
    operation.refresh_from_db()
    return operation


def becomes(client: redis.Redis, status: str, *ids: str) -> None:
    for job_id in ids:
        client.hset(f"rq:job:{job_id}", "status", status)


def counts(operation: Operation) -> dict[str, int]:
    operation.refresh_from_db()
    items = Counter(operation.items.exclude(effect__in=("", "running")).values_list("effect", flat=True))
    assert dict(items) == operation.effects, "the row's counts are the items'"
    return dict(items)


def told() -> list[str]:
    return [sentence(event) for event in Event.objects.filter(action="operation.requeue_followed").order_by("pk")]


def test_it_is_told_once_when_the_last_job_has_ended(
    dead: Dead, requeue: Made, client: redis.Redis, look: Look
) -> None:
    dead("a", "b", "c", "d")
    operation = requeued(requeue())
    look()
    assert (counts(operation), told()) == ({}, [])
    becomes(client, "finished", "a", "b")
    becomes(client, "failed", "c")
    becomes(client, "started", "d")
    look()
    assert (counts(operation), told(), operation.effect_at) == ({"succeeded": 2, "failed_again": 1}, [], None)
    assert operation.items.get(job_id="d").effect == "running"
    becomes(client, "finished", "d")
    look()
    look()
    assert counts(operation) == {"succeeded": 3, "failed_again": 1} and operation.effect_at is not None
    assert told() == ["Controller followed 4 requeued jobs in payments to the end: 3 succeeded, 1 failed again"]
    event = Event.objects.get(action="operation.requeue_followed")
    assert (event.after, event.reason) == ({"succeeded": 3, "failed_again": 1}, "The gateway is back")
    assert (event.target_name, event.detail["started_by"]) == (f"operation {operation.pk}", "bob")


@pytest.mark.parametrize(
    ("status", "effect"),
    [
        *((status, "") for status in ("queued", "deferred", "scheduled", "rate_limited", "created", "never heard of")),
        ("started", "running"),
        ("finished", "succeeded"),
        ("failed", "failed_again"),
        ("stopped", "failed_again"),
        ("canceled", "unknown"),
    ],
)
def test_each_status_of_rq_means(
    dead: Dead, requeue: Made, client: redis.Redis, look: Look, status: str, effect: str
) -> None:
    dead("a")
    operation = requeued(requeue())
    becomes(client, status, "a")
    look()
    assert operation.items.get().effect == effect
    assert len(told()) == (effect not in ("", "running"))


@pytest.mark.parametrize(
    ("seen_running", "registry", "effect"),
    [
        (False, "", "unknown"),
        (True, "", "succeeded"),
        (False, "finished", "succeeded"),
        (True, "failed", "failed_again"),
    ],
)
def test_a_job_that_vanished(
    dead: Dead, requeue: Made, client: redis.Redis, look: Look, seen_running: bool, registry: str, effect: str
) -> None:
    dead("a")
    operation = requeued(requeue())
    if seen_running:
        becomes(client, "started", "a")
    look()
    client.delete("rq:job:a")
    if registry:
        client.zadd(f"rq:{registry}:payments", {"a": 2_000_000_000})
    look()
    assert counts(operation) == {effect: 1} and len(told()) == 1


def test_what_was_skipped_is_not_followed(dead: Dead, requeue: Made, client: redis.Redis, look: Look) -> None:
    dead("a", "b")
    operation = requeue()
    client.delete("rq:job:a", "rq:job:b")
    requeued(operation)
    look()
    assert (counts(operation), told()) == ({}, []) and operation.effect_at is not None, "nothing to tell"


def test_one_that_runs_or_was_cancelled_is_followed_too(
    cast: Cast, dead: Dead, requeue: Made, client: redis.Redis, look: Look
) -> None:
    dead("a", "b")
    operation = requeue()
    operation.items.filter(job_id="a").update(outcome=Outcome.REQUEUED)
    becomes(client, "finished", "a")
    look()
    assert (counts(operation), told(), operation.effect_at) == ({"succeeded": 1}, [], None)
    operation_cancel(actor=actor(cast.bob), operation=operation, reason="wrong group")
    look()
    assert told() == ["Controller followed 1 requeued job in payments to the end: 1 succeeded"]


def test_after_a_day_the_rest_is_unknown_even_while_the_broker_is_away(
    dead: Dead, requeue: Made, client: redis.Redis, look: Look, settings: Settings
) -> None:
    dead("a", "b", "c")
    operation = requeued(requeue())
    becomes(client, "finished", "a")
    look()
    Operation.objects.update(ended_at=make.ago(hours=24, minutes=1))
    settings.POOLWARDEN_BROKERS = {
        "default": {"url": f"redis://127.0.0.1:{free_port()}/0", "prefix": "rq", "region": ""}
    }
    look()
    assert counts(operation) == {"succeeded": 1, "unknown": 2}
    assert told() == ["Controller followed 3 requeued jobs in payments to the end: 1 succeeded, 2 unknown"]


def test_many_are_looked_at_in_turns(
    dead: Dead, requeue: Made, client: redis.Redis, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "CHUNK", 3)
    ids = numbered(20)
    dead(*ids)
    large, small = requeue(*ids[:18]), requeue(*ids[18:])
    for operation in (large, small):
        requeued(operation)
    becomes(client, "finished", *ids)
    look()
    seen = sum(counts(large).values()) + sum(counts(small).values())
    assert seen <= effects.CHUNK * effects.CHUNKS_A_TICK and counts(small) == {"succeeded": 2}
    look()
    assert counts(large) == {"succeeded": 18} and len(told()) == 2


def test_operations_that_ended_before_anybody_followed_are_left_alone(dead: Dead, requeue: Made, look: Look) -> None:
    dead("a")
    operation = requeued(requeue())
    import_module("pools.migrations.0004_requeue_effect").leave_what_ended(apps, None)
    look()
    assert (counts(operation), told()) == ({}, []) and operation.effect_at == operation.ended_at


def test_with_rq_itself(requeue: Made, client: redis.Redis, look: Look, work: Work, tmp_path: Path) -> None:
    """Real jobs, run by RQ's own worker: they fail, are requeued, and one of them fails again."""
    mended = tmp_path / "mended"
    enqueue(client, good=mended, bad=tmp_path / "never")
    work()
    operation = requeued(requeue())
    mended.touch()
    work()
    look()
    assert counts(operation) == {"succeeded": 1, "failed_again": 1}


def test_with_jobs_that_rq_deletes_as_they_succeed(
    requeue: Made, broker: Broker, client: redis.Redis, look: Look, work: Work, tmp_path: Path
) -> None:
    mended, go_on = tmp_path / "mended", tmp_path / "go_on"
    enqueue(client, good=mended, then=str(go_on), result_ttl=0)
    work()
    operation = requeued(requeue())
    mended.touch()
    command = [str(Path(sys.executable).parent / "rq"), "worker", "mail", "--url", broker.url, "--burst"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}) as worker:
        wait_for(lambda: client.hget("rq:job:good", "status") == b"started", timeout=30)
        look()
        go_on.touch()
        worker.wait(timeout=30)
    assert not client.exists("rq:job:good", "rq:results:good")
    look()
    assert counts(operation) == {"succeeded": 1}


def test_one_that_failed_again_and_was_requeued_again_meanwhile(
    requeue: Made, client: redis.Redis, look: Look, work: Work, tmp_path: Path
) -> None:
    """The controller looked away: the first requeue led to a failure, the second to a success, and so it is told."""
    mended = tmp_path / "mended"
    enqueue(client, a=mended)
    work()
    first = requeued(requeue())
    work()
    second = requeued(requeue())
    mended.touch()
    work()
    look()
    assert (counts(first), counts(second)) == ({"failed_again": 1}, {"succeeded": 1})


def test_one_that_waits_for_its_retry_again_is_not_taken_for_done(
    dead: Dead, requeue: Made, client: redis.Redis, look: Look
) -> None:
    dead("a")
    operation = requeued(requeue())
    for status in ("started", "scheduled"):
        becomes(client, status, "a")
        look()
    client.delete("rq:job:a")
    look()
    assert counts(operation) == {"unknown": 1}


def test_the_page_and_the_api_show_it(cast: Cast, dead: Dead, requeue: Made, client: redis.Redis, look: Look) -> None:
    dead("a", "b", "c")
    operation = requeue()
    bob, api = signed_in(cast.bob), Caller(cast.bob)
    assert api.get(f"operations/{operation.pk}").json()["effect"] is None
    requeued(operation)
    becomes(client, "failed", "a")
    becomes(client, "finished", "b")
    look()
    page = bob.get(f"/operations/{operation.pk}/").content.decode()
    assert "2 of 3</strong> requeued jobs have ended" in page and "followed until they end" in page
    assert 'aria-label="1 succeeded, 1 failed again, 1 still to end"' in page
    answer = api.get(f"operations/{operation.pk}").json()
    assert answer["effect"] == {"succeeded": 1, "failed_again": 1, "unknown": 0, "open": 1}
    assert answer["effect_at"] is None
    items = {item["job_id"]: item["effect"] for item in api.items(f"operations/{operation.pk}/items")}
    assert items == {"a": "failed_again", "b": "succeeded", "c": ""}
    becomes(client, "finished", "c")
    look()
    assert api.items("operations")[0]["effect"]["open"] == 0
    assert "known <time" in bob.get(f"/operations/{operation.pk}/").content.decode()


def enqueue(client: redis.Redis, then: str = "", result_ttl: int = 500, **jobs: Path) -> None:
    """Jobs by id, each with the file without which it fails."""
    queue = Queue("mail", connection=client)
    for job_id, path in jobs.items():
        queue.enqueue(fails_unless, str(path), then, job_id=job_id, result_ttl=result_ttl)
