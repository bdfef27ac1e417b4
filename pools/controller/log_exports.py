"""Writes the exports of the audit log that people asked for."""

from audit.exporter import Exporter


class LogExports:
    name = "exports"
    interval = 1.0

    def __init__(self) -> None:
        self._exporter = Exporter()

    def tick(self) -> bool:
        return self._exporter.tick()
