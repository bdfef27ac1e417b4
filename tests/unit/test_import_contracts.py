"""Each layer rule catches a violation that is planted in a copy of the tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLANTS = {
    "layers": ("pools/models/pool.py", "import pools.operations.pools"),
    "log-knows-no-pools": ("audit/target.py", "import pools.spec"),
    "plain-python": ("pools/signing/keys.py", "import django.db"),
    "one-speaker": ("pools/selectors/pools.py", "import redis"),
    "events-through-the-recorder": ("pools/selectors/pools.py", "import audit.models"),
    "one-permission-room": ("pools/operations/pools.py", "import guardian.shortcuts"),
    "worker-side": ("pools/runtime/secrets.py", "import pydantic"),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for name in ("controlplane", "pools", "audit"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--contract", contract]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True)


@pytest.mark.parametrize("contract", PLANTS)
def test_a_planted_violation_is_caught(tree: Path, contract: str) -> None:
    clean = lint(tree, contract)
    assert clean.returncode == 0, clean.stdout
    file, line = PLANTS[contract]
    original = (tree / file).read_text()
    try:
        (tree / file).write_text(f"{original}\n{line}\n")
        planted = lint(tree, contract)
    finally:
        (tree / file).write_text(original)
    assert planted.returncode == 1
    assert "BROKEN" in planted.stdout
