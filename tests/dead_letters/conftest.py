import pytest

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, make_cast


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def payments(cast: Cast) -> Pool:
    return make.pool(cast.payments)


@pytest.fixture
def reports(cast: Cast) -> Pool:
    """A second pool of the same team."""
    return make.pool(cast.payments, "reports")


@pytest.fixture
def hidden(cast: Cast) -> Pool:
    """A pool of another team: only Charlie knows of it."""
    return make.pool(cast.elsewhere, "hidden")
