"""Which browser tests and pictures use, and how it is started."""

import shutil

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the same browser without its windows, menus and services: it costs half as much."""
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium_path() -> str | None:
    """None when none is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)
