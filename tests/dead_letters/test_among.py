"""``pk__among``: many keys in one parameter, with the answer of ``pk__in``."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pools.models import Pool, Team
from tests.support import factories as make

pytestmark = pytest.mark.django_db


def test_finds_what_in_finds():
    team = Team.objects.create(name="payments")
    pools = [make.pool(team, f"pool-{n}") for n in range(4)]
    wanted = {pools[0].pk, pools[2].pk, 2**40}
    assert set(Pool.objects.filter(pk__among=wanted)) == {pools[0], pools[2]}
    assert set(Pool.objects.exclude(pk__among=wanted)) == set(Pool.objects.exclude(pk__in=wanted))
    assert not Pool.objects.filter(pk__among=[])


def test_finds_texts_whatever_is_in_them():
    team = Team.objects.create(name="payments")
    names = ['a "quoted" one', "back\\slash", "ünïcode 🐍", "7", "%s"]
    pools = {make.pool(team, f"pool-{n}", name=name) for n, name in enumerate(names)}
    other = make.pool(team, "other", name="eight")
    assert set(Pool.objects.filter(name__among=names)) == pools
    assert set(Pool.objects.exclude(name__among=names)) == {other}


def test_takes_more_keys_than_the_database_takes_parameters():
    pool = make.pool(Team.objects.create(name="payments"))
    with CaptureQueriesContext(connection) as queries:
        assert list(Pool.objects.filter(pk__among=range(pool.pk, pool.pk + 300_000))) == [pool]
    assert len(queries) == 1
