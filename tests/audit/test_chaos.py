"""The short form of the chaos runs; ``make chaos`` has the long one."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest


def chaos(own_database: str, *arguments: str) -> dict[str, Any]:
    environ = os.environ | {"POOLWARDEN_DATABASE_URL": own_database, "POOLWARDEN_LOG_LAG_SECONDS": "1"}
    command = [sys.executable, "-m", "tests.audit.chaos", *arguments]
    run = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=140, check=False)
    assert run.stdout, run.stderr
    result: dict[str, Any] = json.loads(run.stdout)
    return result


@pytest.mark.timeout(150)
def test_kill_9_loses_nothing_doubles_nothing_and_breaks_no_promise(own_database: str) -> None:
    result = chaos(own_database, "rounds", "10")
    assert result["faults"] == []
    assert result["committed"] >= 30 and result["leaves"] >= result["committed"]
    assert result["cosigned"] >= 1


@pytest.mark.timeout(150)
def test_a_transaction_that_stays_open_loses_nothing_and_is_an_alert(own_database: str) -> None:
    result = chaos(own_database, "hold", "2")
    assert result["faults"] == []
    assert result["held"] > 2
