"""Searchable arguments of real jobs: indexed as they fail, when they fail again, when a pool names others."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from rq import Queue
from rq.serializers import DefaultSerializer, JSONSerializer

from pools.arguments import digest
from pools.broker.connection import Broker
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.controller.argument_indexer import ArgumentIndexer
from pools.controller.lease import LeaderLease
from pools.controller.read_model import Facts, absorb
from pools.controller.rehoming import Rehoming
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import DeadLetter, Pool, SearchableArgument, Team
from tests.broker import jobs
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool
from tests.support.in_process import InProcessWorker

pytestmark = pytest.mark.django_db

type Fail = Callable[..., None]
type Known = dict[str, dict[str, bytes]]


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def pool(team: Team) -> Pool:
    made = new_pool(team, "mail")
    Pool.objects.filter(pk=made.pk).update(searchable_arguments=["user.id", "0"], indexed_arguments=["user.id", "0"])
    return made


@pytest.fixture
def look(broker: Broker, lease: LeaderLease, tick: Tick) -> Callable[[], None]:
    loops = [Sampler(lease), Scanner(lease)]

    def run() -> None:
        for loop in loops:
            tick(loop)

    return run


@pytest.fixture
def index(lease: LeaderLease, broker: Broker, tick: Tick) -> Callable[[], None]:
    indexer = ArgumentIndexer(lease)

    def run() -> None:
        while tick(indexer):
            pass

    return run


def enqueue(client: redis.Redis, job_id: str, *args: Any, serializer: Any = JSONSerializer, **kwargs: Any) -> Queue:
    queue = Queue("mail", connection=client, serializer=serializer)
    queue.enqueue(jobs.fails, args=args, kwargs=kwargs, job_id=job_id)
    return queue


def work(client: redis.Redis, queue: Queue) -> None:
    worker = InProcessWorker([queue], connection=client, serializer=queue.serializer)
    worker.work(burst=True, logging_level="CRITICAL")


def fail(client: redis.Redis, job_id: str, *args: Any, **kwargs: Any) -> None:
    work(client, enqueue(client, job_id, *args, **kwargs))


def known() -> Known:
    found: Known = {}
    for job_id, path, value in SearchableArgument.objects.values_list("dead_letter__job_id", "path", "digest"):
        found.setdefault(job_id, {})[path] = bytes(value)
    return found


def digests(**values: str) -> dict[str, bytes]:
    """``user`` stands for ``user.id``, ``first`` for ``0``."""
    paths = {"user": "user.id", "first": "0"}
    return {paths[name]: digest(paths[name], value) for name, value in values.items()}


@pytest.mark.usefixtures("pool")
def test_json_payloads_are_indexed_and_pickles_left_alone(client: redis.Redis, look: Callable[[], None]) -> None:
    fail(client, "both", 7, user={"id": 42})
    fail(client, "one", user={"id": "42", "more": [1]})
    fail(client, "none", note="x")
    fail(client, "pickled", 7, user={"id": 42}, serializer=DefaultSerializer)
    look()
    assert DeadLetter.objects.count() == 4
    assert known() == {"both": digests(first="7", user="42"), "one": digests(user="42")}


def test_payloads_of_other_pools_are_not_read(
    client: redis.Redis, look: Callable[[], None], pool: Pool, broker: Broker
) -> None:
    Pool.objects.update(searchable_arguments=[], indexed_arguments=[])
    fail(client, "one", user={"id": 42})
    before = client.info("commandstats").get("cmdstat_hget", {}).get("calls", 0)
    look()
    assert DeadLetter.objects.count() == 1 and known() == {}
    assert client.info("commandstats").get("cmdstat_hget", {}).get("calls", 0) == before


@pytest.mark.usefixtures("pool")
def test_a_job_that_fails_again_is_indexed_anew(client: redis.Redis, look: Callable[[], None]) -> None:
    fail(client, "one", 7, user={"id": 42})
    look()
    queue = enqueue(client, "one", user={"id": 43})
    queue.failed_job_registry.remove("one")
    look()
    work(client, queue)
    look()
    assert DeadLetter.objects.get().attempts == 2
    assert known() == {"one": digests(user="43")}


def test_what_is_there_is_indexed_when_the_pool_names_other_paths(
    client: redis.Redis, look: Callable[[], None], index: Callable[[], None], pool: Pool
) -> None:
    Pool.objects.update(searchable_arguments=[], indexed_arguments=[])
    fail(client, "one", 7, user={"id": 42})
    fail(client, "two", 8)
    look()
    Pool.objects.filter(pk=pool.pk).update(searchable_arguments=["user.id"])
    index()
    assert known() == {"one": digests(user="42")}
    Pool.objects.filter(pk=pool.pk).update(searchable_arguments=["0"])
    client.delete("rq:job:two")
    index()
    assert known() == {"one": digests(first="7")}
    Pool.objects.filter(pk=pool.pk).update(searchable_arguments=[])
    index()
    pool.refresh_from_db()
    assert known() == {} and pool.indexed_arguments == []


def test_a_walk_that_another_controller_began_is_done_anew(
    client: redis.Redis, look: Callable[[], None], lease: LeaderLease, tick: Tick, index: Callable[[], None], pool: Pool
) -> None:
    fail(client, "one", 7)
    look()
    SearchableArgument.objects.all().delete()
    Pool.objects.filter(pk=pool.pk).update(searchable_arguments=["0"])
    SearchableArgument.objects.all().delete()
    assert tick(ArgumentIndexer(lease))
    SearchableArgument.objects.all().delete()
    index()
    pool.refresh_from_db()
    assert known() == {"one": digests(first="7")} and pool.indexed_arguments == ["0"]


def test_what_was_read_before_the_paths_changed_is_indexed_anew(
    client: redis.Redis, lease: LeaderLease, broker: Broker, index: Callable[[], None], pool: Pool
) -> None:
    fail(client, "one", 7, user={"id": 42})
    (job,) = read_failed(broker, ["one"], {"one": "mail"}, {"mail": ("0",)})
    assert isinstance(job, FailedJob) and job.failed_at is not None
    absorb(lease, "default", [job], {"one": Facts("mail")}, job.failed_at)
    pool.refresh_from_db()
    assert known() == {"one": digests(first="7")} and pool.indexed_arguments is None
    index()
    pool.refresh_from_db()
    assert known() == {"one": digests(first="7", user="42")}
    assert pool.indexed_arguments == pool.searchable_arguments


@pytest.mark.usefixtures("pool")
def test_no_value_lies_in_the_database(client: redis.Redis, look: Callable[[], None]) -> None:
    fail(client, "one", "the-secret-argument", user={"id": "another-secret"})
    look()
    assert len(known()["one"]) == 2
    rows = [*DeadLetter.objects.values_list(), *SearchableArgument.objects.values_list()]
    assert "another-secret" not in repr([[bytes(c) if isinstance(c, memoryview) else c for c in row] for row in rows])


def test_what_moves_to_a_pool_is_indexed_under_its_paths(
    client: redis.Redis, lease: LeaderLease, look: Callable[[], None], index: Callable[[], None], tick: Tick, team: Team
) -> None:
    fail(client, "one", 7)
    look()
    pool = new_pool(team, "mail")
    Pool.objects.filter(pk=pool.pk).update(searchable_arguments=["0"], indexed_arguments=["0"])
    tick(Rehoming(lease))
    index()
    assert DeadLetter.objects.get().pool == pool
    assert known() == {"one": digests(first="7")}
