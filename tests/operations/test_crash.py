"""kill -9 at random moments: nothing is lost, nothing is doubled, and the numbers tell what really happened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installation import ROOT, clean_environ, own_database
from tests.support.valkey import ValkeyServer

JOBS, KILLS = 3000, 8
OUTCOME = {"discard": "discarded", "recall": "recalled", "restore": "restored"}
CREDIT = 1.1  # seconds: what may be caught up on, and a batch


def told(kind: str) -> list[str]:
    """The events of an operation, each once."""
    if kind in ("discard", "restore"):
        return [f"operation.{kind}_started", f"operation.{kind}_ended"]
    between = {"canary": ["operation.canary_passed"], "pause": ["operation.paused", "operation.resumed"]}
    ends = {"recall": ["operation.requeue_ended", "operation.recall_started", "operation.recalled"]}
    ends |= {"cancel": ["operation.cancelled"]}
    return ["operation.requeue_started", *between.get(kind, []), *ends.get(kind, ["operation.requeue_ended"])]


def test_kill_9_in_operations_over_3000_jobs(tmp_path: Path, valkey: ValkeyServer) -> None:
    """One process at a time; three processes at the same operation; a discard. Finished by django-rq's own worker."""
    killed(tmp_path, valkey, "requeue:1", "requeue:3", "discard:1")


def test_kill_9_in_plans_and_recalls_over_3000_jobs(tmp_path: Path, valkey: ValkeyServer) -> None:
    """A canary is decided once, a rate is kept over all the deaths, and what is recalled is counted once."""
    killed(tmp_path, valkey, "canary:1", "canary:3", "rate:3", "recall:3")


def test_kill_9_in_operations_that_are_paused_or_cancelled(tmp_path: Path, valkey: ValkeyServer) -> None:
    """A chunk under way is carried out all the same: what was sent says so, and only what was not is cancelled."""
    killed(tmp_path, valkey, "pause:1", "pause:3", "cancel:1", "cancel:3")


def test_kill_9_in_restoring_3000_jobs(tmp_path: Path, valkey: ValkeyServer) -> None:
    """From the trash back into the registry, byte for byte."""
    killed(tmp_path, valkey, "restore:1", "restore:3")


def killed(
    tmp_path: Path, valkey: ValkeyServer, *scenarios: str, jobs: int = JOBS, kills: int = KILLS, seconds: float = 170
) -> None:
    """Run the scenarios of ``crash_run`` and hold what they say against what must be."""
    more = own_database() | {"POOLWARDEN_REDIS_URL": valkey.url, "POOLWARDEN_LOG_LEVEL": "ERROR"}
    environ = clean_environ(tmp_path, DJANGO_SETTINGS_MODULE="controlplane.settings", **more)
    command = [sys.executable, "-m", "tests.operations.crash_run", str(jobs), str(kills), "seed", *scenarios]
    run = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert run.returncode == 0, run.stderr
    for name, result in zip(scenarios, json.loads(run.stdout), strict=True):
        kind = name.split(":")[0]
        assert len(result["left"]) > kills // (4 if kind == "cancel" else 2), name
        place, outcome = "shelved" if kind == "discard" else "once", OUTCOME.get(kind, "requeued")
        between = {"once", "shelved"} if kind in ("discard", "restore") else {"once"}
        assert all(set(places) <= between for places in result["seen"]), name
        assert kind != "restore" or result["same"], name
        assert result["places"] == {place: jobs}, name
        sent = result["queued"] if kind == "cancel" else jobs
        left = {"cancelled": jobs - sent} if sent < jobs else {}
        state = "cancelled" if kind == "cancel" else "ended"
        assert (result["state"], result["outcomes"]) == (state, {outcome: sent} | left), name
        assert kind != "cancel" or 0 < sent < jobs, name
        letters = {"open": jobs} if kind in ("recall", "restore") else {outcome: sent}
        letters |= {"open": jobs - sent} if left else {}
        assert (result["letters"], result["open"]) == (letters, letters.get("open", 0)), name
        assert result["told"] == told(kind), name
        assert kind != "rate" or result["busiest"] <= jobs / 2 * (1 + CREDIT), name
        # A kill between the outcomes' commit and the receipt's removal leaves that one to expire.
        assert all(0 < left <= 7 * 86_400 for left in result["receipts"]), name
        assert len(result["receipts"]) < kills, name


@pytest.mark.acceptance
def test_kill_9_of_every_process_that_takes_part(tmp_path: Path) -> None:
    """The controller, the console worker, its horse and the broker, in a requeue, a discard and its undoing."""
    environ = clean_environ(tmp_path, **own_database())
    command = [sys.executable, "-m", "tests.operations.whole", "2000", "6"]
    run = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("all there, once") == 3
