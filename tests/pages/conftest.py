import os

import pytest

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, make_cast

# Playwright's loop runs in this process, where tests also make rows; the two never touch a connection at once.
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "1")


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def payments(cast: Cast) -> Pool:
    """A managed pool with two versions, sampled a moment ago, served by one agent."""
    pool = make.pool(
        cast.payments, versions=2, now={"waiting": 12, "workers": 4, "busy": 3, "wanted": 4, "done_per_minute": 180}
    )
    make.serves(make.agent(), pool)
    return pool
