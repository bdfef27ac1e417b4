"""Reads the audit log again and again, for what was changed behind its back."""

from audit.scrubber import Scrubber


class LogScrubber:
    """``interval`` is between two slices: a log of a million events takes half an hour, and nobody notices."""

    name = "scrubber"
    interval = 1.0

    def __init__(self) -> None:
        self._scrubber = Scrubber()

    def tick(self) -> bool:
        self._scrubber.tick()
        return False
