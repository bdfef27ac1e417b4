"""Jobs that save their state when they have to end early."""

import sys
import time
from pathlib import Path

from pools.runtime import checkpoint


def count(path, how="well"):
    """Goes on where an earlier run was when it was stopped."""
    saved = Path(f"{path}.saved")
    if saved.exists():
        return f"resumed at {saved.read_text()}"
    steps = [0]

    def save():
        saved.write_text(str(steps[0]))
        if how == "badly":
            raise ValueError("disk full")
        if how == "slowly":
            time.sleep(60)

    checkpoint.on_stop(save)
    if how == "unheard":
        sys.stdout = None
    while True:
        steps[0] += 1
        Path(path).write_text(str(steps[0]))
        time.sleep(0.05)


def briefly(path):
    """Is over long before anybody asks."""
    checkpoint.on_stop(lambda: Path(path).write_text("asked"))
