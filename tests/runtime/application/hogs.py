"""Jobs that take more than their share. All are bounded, should nothing stop them."""

import time
from pathlib import Path


def swallow_timeout(path):
    """Goes on after the exception, for as long as a test could wait."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            time.sleep(1)
        except BaseException:
            Path(path).touch()
