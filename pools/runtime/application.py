"""Loading the application that a pool's tasks are of."""

import importlib
import os
import sys
from typing import Any


def preload(modules: list[str]) -> None:
    """Import what every job needs, once and before the first fork. ``django:module`` sets Django up with settings."""
    for name in modules:
        if name.startswith("django:"):
            os.environ["DJANGO_SETTINGS_MODULE"] = name.removeprefix("django:")
            django: Any = importlib.import_module("django")
            django.setup()
        else:
            importlib.import_module(name)
    if "django.db" in sys.modules:
        # A database connection opened while loading must not be shared by the horses.
        sys.modules["django.db"].connections.close_all()
