"""Opening and closing a pool's breakers by hand."""

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import Pool, PoolKind, RunCommand
from pools.operations.base import clean_reason, expect, locked
from pools.operations.errors import Refused
from pools.operations.run_state import issue, wishes_of
from pools.permissions import CONTROL, require
from pools.selectors.config import running_spec


@operation("breaker.opened")
def breaker_open(
    *, actor: Actor, pool: Pool, breaker: str, reason: str, expected_version: int | None = None
) -> RunCommand:
    """Jobs of its tasks wait until a person closes it. ``expected_version`` is ``Pool.generation``."""
    return _command(actor, pool, breaker, "open", "breaker.opened", reason, expected_version)


@operation("breaker.closed")
def breaker_close(
    *, actor: Actor, pool: Pool, breaker: str, reason: str, expected_version: int | None = None
) -> RunCommand:
    """Closed at once, whoever opened it and whatever it counted; new failures open it again."""
    return _command(actor, pool, breaker, "closed", "breaker.closed", reason, expected_version)


def _command(
    actor: Actor, pool: Pool, breaker: str, state: str, action: str, reason: str, expected_version: int | None
) -> RunCommand:
    pool = locked(actor, pool)
    require(actor, CONTROL, pool)
    reason = clean_reason(reason)
    if pool.kind != PoolKind.MANAGED:
        raise Refused("", f"{pool.slug} is not managed: its workers obey no agent. Nothing was changed.")
    expect(pool.generation, expected_version, f"The run state of {pool.slug}")
    spec = running_spec(pool)
    if breaker not in [rule.name for rule in (spec.breakers if spec else [])]:
        raise Refused("breaker", f"{pool.slug} has no breaker {breaker[:63]!r}. Nothing was changed.")
    wanted = {wish["breaker"]: wish["state"] for wish in wishes_of(pool)}
    if state == "open" == wanted.get(breaker):
        raise Refused("", f"Breaker {breaker} of {pool.slug} is held open already. Nothing was changed.")
    command = issue(actor, pool, reason, {"breaker": breaker, "state": state})
    record(
        actor=actor,
        action=action,
        target=pool.target,
        before={"breaker": breaker, "wanted": wanted.get(breaker, "")},
        after={"breaker": breaker, "wanted": state, "generation": pool.generation},
        reason=reason,
    )
    return command
