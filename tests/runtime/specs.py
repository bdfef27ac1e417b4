"""Specs for pools whose application is tests/runtime/application."""

from typing import Any

from tests.runtime.conftest import APPLICATION


def spec(queue: str = "mail", workers: int = 1, **changes: Any) -> dict[str, Any]:
    base = {"queues": [queue], "workers": workers, "application": {"directory": str(APPLICATION)}}
    return base | changes
