"""Commands that agents follow: each is the whole run state of a pool, signed by the controller."""

import datetime as dt
from typing import Any

from django.utils import timezone

from audit.actor import Actor
from pools.models import Pool, RunCommand
from pools.operations.base import append_outbox

COMMAND_DEADLINE = dt.timedelta(seconds=30)


def wishes_of(pool: Pool) -> list[dict[str, Any]]:
    """What people want of the pool's breakers now, as ``RunCommand.breakers``."""
    newest = pool.run_commands.filter(generation=pool.generation).first()
    return newest.breakers if newest else []


def issue(actor: Actor, pool: Pool, reason: str, wish: dict[str, Any] | None = None) -> RunCommand:
    """Save a locked pool and send its run state. ``wish``: the breaker and state that this command is about, if any."""
    breakers = wishes_of(pool)
    pool.generation += 1
    pool.revision += 1
    pool.save()
    if wish is not None:
        breakers = [said for said in breakers if said["breaker"] != wish["breaker"]]
        breakers.append(wish | {"generation": pool.generation})
    command = RunCommand.objects.create(
        pool=pool,
        generation=pool.generation,
        state=pool.run_state,
        breakers=breakers,
        breaker=wish["breaker"] if wish else "",
        reason=reason,
        issued_by=actor.label,
        deadline=timezone.now() + COMMAND_DEADLINE,
    )
    append_outbox("run", f"{pool.slug}:{pool.generation}", broker=pool.broker)
    return command
