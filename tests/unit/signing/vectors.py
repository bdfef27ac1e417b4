"""Published test vectors, read in place: they are not part of this repository."""

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / ".." / "shared" / "vectors"


def vector(name: str) -> Any:
    """The contents of one vector file; skips the test when the folder of vectors is not beside the project."""
    if not FOLDER.is_dir():
        pytest.skip("the published test vectors (../shared/vectors) are not on this machine")
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))
