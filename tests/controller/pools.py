"""Managed pools as the operations make them: a version waits to be signed, with its message in the outbox."""

from typing import Any

from audit.actor import system_actor
from pools.models import ConfigVersion, Pool, RunCommand, Team
from pools.operations import config_publish, pool_create, pool_pause
from pools.spec import parse_spec
from tests.support.factories import SPEC

ACTOR = system_actor("test")


def new_pool(team: Team, slug: str = "payments", **spec: Any) -> Pool:
    values = SPEC | {"queues": [slug]} | spec
    return pool_create(
        actor=ACTOR, slug=slug, name=slug, environment="test", team=team, spec=parse_spec(values), message="First"
    )


def new_version(pool: Pool, **spec: Any) -> ConfigVersion:
    values = SPEC | {"queues": [pool.slug]} | spec
    return config_publish(actor=ACTOR, pool=pool, spec=parse_spec(values), message="Next", expected_version=None)


def pause(pool: Pool) -> RunCommand:
    return pool_pause(actor=ACTOR, pool=pool, reason="The gateway is down")
