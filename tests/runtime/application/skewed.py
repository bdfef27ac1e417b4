"""A host whose clock is off by as many seconds as the file CLOCK says, for what is preloaded before this."""

import os
import time
from pathlib import Path

_file, _true_time = Path(os.environ["CLOCK"]), time.time


def _skewed():
    return _true_time() + (float(_file.read_text()) if _file.exists() else 0.0)


time.time = _skewed
