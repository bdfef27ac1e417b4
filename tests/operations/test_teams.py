"""A role counts in its own team: checked in the operation, whatever page or script calls it."""

import pytest

from pools.models import Pool, SecretReference
from pools.operations import pool_create, secret_register, secret_remove
from pools.permissions import Denied
from pools.spec import PoolSpec
from tests.support.cast import Cast, actor, make_cast
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db
REFERENCE = "file:///run/secrets/token"


@pytest.fixture
def cast() -> Cast:
    return make_cast()


def make_pool(cast: Cast, who: str) -> Pool:
    spec = PoolSpec(queues=["mail"], workers=1)
    person = actor(getattr(cast, who))
    return pool_create(actor=person, slug="mail", name="", environment="test", team=cast.payments, spec=spec)


@pytest.mark.parametrize("who", ["charlie", "vera"])
def test_nobody_makes_a_pool_in_a_team_where_they_have_no_such_role(cast: Cast, who: str) -> None:
    with pytest.raises(Denied):
        make_pool(cast, who)
    assert not Pool.objects.exists()
    assert recent_actions(1) == [("pool.created", "denied", "Poolwarden")]


@pytest.mark.parametrize("who", ["alice", "ada"])
def test_the_teams_operator_and_the_administrator_do(cast: Cast, who: str) -> None:
    assert make_pool(cast, who).team == cast.payments


def test_a_secret_belongs_to_its_team(cast: Cast) -> None:
    with pytest.raises(Denied):
        secret_register(actor=actor(cast.charlie), name="token", uri=REFERENCE, team=cast.payments)
    secret = secret_register(actor=actor(cast.alice), name="token", uri=REFERENCE, team=cast.payments)
    with pytest.raises(Denied):
        secret_remove(actor=actor(cast.charlie), secret=secret, reason="not mine")
    assert SecretReference.objects.get().name == "token"
