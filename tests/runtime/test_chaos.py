"""The short form of the chaos suite; ``python -m tests.runtime.chaos`` is the long one."""

import random
from pathlib import Path

import pytest

from tests.runtime.chaos.round import Plan, run


@pytest.mark.parametrize("seed", [1, random.SystemRandom().randrange(2, 1_000_000)], ids=["fixed", "random"])
def test_no_job_is_lost_or_committed_twice(seed: int, tmp_path: Path) -> None:
    print(f"seed {seed}")  # shown when it fails: the same storm, though never the same moments
    verdict, storm = run(Plan(seed, jobs=150, workers=1, longest=2.0, storm=15.0), tmp_path)
    assert not verdict.wrong, f"seed {seed}, {storm.struck}: {verdict}; see {tmp_path}"
    assert sum(verdict.ends[end] for end in ("finished", "failed", "quarantined")) == verdict.jobs
