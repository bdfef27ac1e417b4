"""The short form of the chaos suite; ``python -m tests.runtime.chaos`` is the long one."""

import random
from pathlib import Path

import pytest

from tests.runtime.chaos.pools import PROFILES
from tests.runtime.chaos.round import Plan, run


@pytest.mark.timeout(900)  # what a dead worker took is given back after minutes
def test_no_job_is_lost_or_committed_twice(tmp_path: Path) -> None:
    chance = random.SystemRandom()
    seed, profile = chance.randrange(1_000_000), chance.choice(PROFILES)
    print(f"seed {seed}, {profile}")  # shown when it fails: the same storm, though never the same moments
    verdict, storm = run(Plan(seed, jobs=200, workers=1, longest=2.0, storm=20.0, profile=profile), tmp_path)
    assert not verdict.wrong, f"seed {seed}, {profile}, {storm.struck}: {verdict}; see {tmp_path}"
    assert sum(verdict.ends[end] for end in ("finished", "failed", "quarantined")) == verdict.jobs
