"""Published test vectors, read in place."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "vectors"


def vectors(name: str) -> Any:
    """The vectors in ``name``.json; a test that needs them is skipped, saying so, where the folder is not."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"the published vectors are not beside the project: {path}", allow_module_level=True)
    return json.loads(path.read_text())


def b64(text: str | None) -> bytes:
    return base64.b64decode(text or "")
