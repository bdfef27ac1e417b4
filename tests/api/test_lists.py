"""What holds for every list: pages without gaps or repeats, and a number of queries that does not grow."""

from collections.abc import Callable
from itertools import chain

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.models import ConfigVersion, DeadLetter, Pool
from pools.operations import Selection, requeue_create
from tests.api.calling import Caller
from tests.support import factories as make
from tests.support.cast import Cast, actor

LISTS = {
    "pools": "slug",
    "pools/payments/config": "version",
    "queues": "name",
    "workers": "name",
    "agents": "name",
    "failure-groups": "id",
    "dead-letters": "job_id",
    "operations": "id",
    "operations/{id}/items": "job_id",
}
MOST_QUERIES = 8


@pytest.fixture
def grow(cast: Cast, payments: Pool) -> Callable[[int, int], None]:
    """Adds rows ``start`` to ``end`` to every list."""

    def rows(start: int, end: int) -> None:
        for n in range(start, end):
            pool = make.pool(cast.payments, f"pool-{n}", now={"waiting": n})
            make.config_version(payments, n + 10, make.spec(workers=n), newest=False)
            make.queue(pool, f"queue-{n}")
            agent = make.agent(f"agent-{n}")
            make.serves(agent, pool)
            make.serves(agent, payments)
            make.worker(pool, f"worker-{n}", agent=agent)
            letter = make.dead_letter(make.failure_group(pool, f"Error{n} happened"), f"job-{n}")
            alice, chosen = actor(cast.alice), Selection(ids=(letter.pk,))
            requeue_create(actor=alice, selection=chosen, reason="Back", start=False)

    return rows


def path_of(path: str, cast: Cast) -> str:
    """With the id of an operation on everything, where the path needs one."""
    if "{id}" not in path:
        return path
    letters = tuple(DeadLetter.objects.values_list("pk", flat=True))
    chosen = Selection(ids=letters)
    return path.format(id=requeue_create(actor=actor(cast.alice), selection=chosen, reason="All", start=False).pk)


@pytest.mark.parametrize("path", LISTS)
def test_pages_neither_repeat_nor_leave_out(
    alice: Caller, cast: Cast, grow: Callable[[int, int], None], path: str
) -> None:
    grow(0, 7)
    found, name = path_of(path, cast), LISTS[path]
    whole = [item[name] for item in alice.items(found, limit=500)]
    pages = [[item[name] for item in page] for page in alice.all_pages(found, limit=3)]
    assert [*chain.from_iterable(pages)] == whole and len(set(whole)) == len(whole) >= 7
    assert [len(page) for page in pages[:-1]] == [3] * (len(pages) - 1) and pages[-1]


def test_a_page_that_is_exactly_full_is_the_last(alice: Caller, payments: Pool) -> None:
    assert len(alice.all_pages("pools/payments/config", limit=2)) == ConfigVersion.objects.count() - 1 == 1


@pytest.mark.parametrize("path", LISTS)
def test_the_number_of_queries_does_not_grow(
    alice: Caller, cast: Cast, grow: Callable[[int, int], None], path: str
) -> None:
    counts = []
    for start, end in ((0, 2), (2, 9)):
        grow(start, end)
        found = path_of(path, cast)
        with CaptureQueriesContext(connection) as queries:
            assert len(alice.items(found)) >= end
        counts.append(len(queries))
    assert counts[0] == counts[1] <= MOST_QUERIES


@pytest.mark.parametrize("path", ["pools/payments", "pools/payments/config/1", "operations/{id}"])
def test_one_thing_takes_few_queries(alice: Caller, cast: Cast, letters: list[DeadLetter], path: str) -> None:
    found = path_of(path, cast)
    with CaptureQueriesContext(connection) as queries:
        assert alice.get(found).status_code == 200
    assert len(queries) <= MOST_QUERIES
