"""Looks, at start and now and then, whether the database still protects the audit log."""

from audit import protection


class LogProtection:
    name = "protection"
    interval = 600.0

    def tick(self) -> bool:
        protection.look()
        return False
