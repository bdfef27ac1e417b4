"""The demo is an application of its own: its folder is put on the path as its workers do it."""

import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "deploy" / "demo"
sys.path.insert(0, str(DEMO))


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the jobs write their results."""
    monkeypatch.setenv("STDLIB_DEMO_OUT", str(tmp_path / "out"))
    return tmp_path / "out"
