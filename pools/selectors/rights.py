"""What an actor may do, explained: which permission is missing, who can grant it. The check is the operation's own."""

from dataclasses import dataclass

from audit.actor import Actor
from pools.models import Pool
from pools.permissions import can, can_globally, who_can_grant


@dataclass(frozen=True)
class Right:
    """``granters``: who can grant it, for a right that is lacking."""

    permission: str
    allowed: bool
    granters: str = ""


def pool_rights(actor: Actor, pool: Pool, *permissions: str) -> dict[str, Right]:
    """By permission name, for one pool."""
    return _explained({name: can(actor, name, pool) for name in permissions}, "pools.")


def global_rights(actor: Actor, *permissions: str) -> dict[str, Right]:
    """By ``app.codename``, for rights that concern no single pool."""
    return _explained({name: can_globally(actor, name) for name in permissions}, "")


def _explained(held: dict[str, bool], prefix: str) -> dict[str, Right]:
    granters = "" if all(held.values()) else who_can_grant().removesuffix(" can grant it.")
    return {name: Right(prefix + name, allowed, "" if allowed else granters) for name, allowed in held.items()}
