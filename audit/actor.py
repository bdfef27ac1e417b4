"""Who acts: a person, a token, an agent, or a named part of the system. Never nobody."""

from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["user", "token", "agent", "system"]


@dataclass(frozen=True)
class Actor:
    """The acting party and the request it came by.

    ``user`` is the account whose permissions count; agents and system parts have none. ``session`` is a short digest,
    never the session key.
    """

    kind: Kind
    id: str
    name: str
    request_id: str = ""
    address: str = ""
    session: str = ""
    user: Any = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str:
        return f"{self.name} (token)" if self.kind == "token" else self.name


def system_actor(part: str) -> Actor:
    """An actor for work that no person asked for directly: ``controller``, ``console-jobs``, ``command-line``."""
    return Actor(kind="system", id=part, name=part)


def agent_actor(name: str) -> Actor:
    """An actor for what an agent reported."""
    return Actor(kind="agent", id=name, name=name)
