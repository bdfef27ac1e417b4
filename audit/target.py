"""What an event is about."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The object of an action, by kind, id and the name people know it by.

    ``pool`` is the slug of the pool it belongs to, or empty. The log knows pools only as text.
    """

    kind: str
    id: str
    name: str
    pool: str = ""
