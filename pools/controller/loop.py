"""What a loop is."""

from typing import Protocol


class Loop(Protocol):
    """One duty of the controller. ``interval`` is in seconds, from the end of a tick to the start of the next."""

    name: str
    interval: float

    def tick(self) -> bool:
        """Do what is due. True when more is waiting: the next tick then follows at once."""
        ...
