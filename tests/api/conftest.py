from collections.abc import Callable

import pytest

pytest.register_assert_rewrite("tests.api.calling")

from pools.models import DeadLetter, Operation, Pool
from pools.operations import Selection, operation_pause, requeue_create
from tests.api.calling import Caller
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def alice(cast: Cast) -> Caller:
    """Operator of payments."""
    return Caller(cast.alice)


@pytest.fixture
def charlie(cast: Cast) -> Caller:
    """Operator of another team."""
    return Caller(cast.charlie)


@pytest.fixture
def payments(cast: Cast) -> Pool:
    """A pool with two config versions and figures."""
    return make.pool(cast.payments, versions=2, now={"waiting": 12, "workers": 4, "busy": 3, "dead_letters": 3})


@pytest.fixture
def refunds(cast: Cast) -> Pool:
    """A pool that only Charlie sees."""
    return make.pool(cast.elsewhere, "refunds", now={"waiting": 1})


@pytest.fixture
def letters(payments: Pool) -> list[DeadLetter]:
    """Three dead letters of one group, the oldest failure first."""
    group = make.failure_group(payments, open_count=3, total_count=3)
    return [make.dead_letter(group, f"job-{n}", failed_at=make.ago(minutes=40 - n)) for n in range(3)]


@pytest.fixture
def frozen(cast: Cast, letters: list[DeadLetter]) -> Operation:
    """Alice's requeue of the three letters, not started."""
    selection = Selection(ids=tuple(letter.pk for letter in letters))
    return requeue_create(actor=actor(cast.alice), selection=selection, reason="The gateway is back", start=False)


@pytest.fixture
def operation_in(cast: Cast, letters: list[DeadLetter]) -> Callable[[str], Operation]:
    """Makes an operation that is frozen, awaiting an approval, running or paused."""

    def make_one(state: str) -> Operation:
        selection = Selection(ids=tuple(letter.pk for letter in letters))
        alice = actor(cast.alice)
        if state == "awaiting":
            Pool.objects.update(approval_limit=0)
        row = requeue_create(actor=alice, selection=selection, reason="The gateway is back", start=state != "frozen")
        return operation_pause(actor=alice, operation=row) if state == "paused" else row

    return make_one
