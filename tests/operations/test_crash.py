"""kill -9 at random moments: nothing is lost, nothing is doubled, and the numbers tell what really happened."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.installation import ROOT, clean_environ, own_database
from tests.support.valkey import ValkeyServer

JOBS, KILLS = 3000, 8
OUTCOME = {"requeue": "requeued", "discard": "discarded"}
PLACE = {"requeue": "once", "discard": "deleted"}


def test_kill_9_in_operations_over_3000_jobs(tmp_path: Path, valkey: ValkeyServer) -> None:
    """One process at a time; three processes at the same operation; a discard. Finished by django-rq's own worker."""
    scenarios = ["requeue:1", "requeue:3", "discard:1"]
    more = own_database() | {"POOLWARDEN_REDIS_URL": valkey.url, "POOLWARDEN_LOG_LEVEL": "ERROR"}
    environ = clean_environ(tmp_path, DJANGO_SETTINGS_MODULE="controlplane.settings", **more)
    command = [sys.executable, "-m", "tests.operations.crash_run", str(JOBS), str(KILLS), "seed", *scenarios]
    run = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert run.returncode == 0, run.stderr
    for name, result in zip(scenarios, json.loads(run.stdout), strict=True):
        kind = name.split(":")[0]
        assert len(result["left"]) > KILLS // 2, name
        assert all(set(places) <= {"once", PLACE[kind]} for places in result["seen"]), name
        assert result["places"] == {PLACE[kind]: JOBS}, name
        assert (result["state"], result["outcomes"]) == ("ended", {OUTCOME[kind]: JOBS}), name
        assert (result["letters"], result["open"], result["ends"]) == ({OUTCOME[kind]: JOBS}, 0, 1), name
        # A kill between the outcomes' commit and the receipt's removal leaves that one to expire.
        assert all(0 < seconds <= 7 * 86_400 for seconds in result["receipts"]), name
        assert len(result["receipts"]) < KILLS, name
