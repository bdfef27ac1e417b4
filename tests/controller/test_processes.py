"""Real controllers: start, refusal, take-over, kill at any moment, orderly end."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pools.models import Team
from tests.controller.installation import Installation
from tests.controller.pools import new_pool, pause
from tests.support.waiting import wait_for

POOLS = 90


def waiting(installation: Installation) -> int:
    return int(installation.query("SELECT count(*) FROM pools_outboxmessage WHERE published_at IS NULL")[0][0])


def stands_by(process: subprocess.Popen[str]) -> bool:
    """Whether it has come as far as its database: a file, or a connection."""
    files = [os.path.realpath(one) for one in Path(f"/proc/{process.pid}/fd").iterdir()]
    return any(path.endswith(".sqlite3") or "socket:" in path for path in files)


def test_a_successor_leads_within_10_s_of_a_kill_and_one_that_ends_well_hands_over(installation: Installation) -> None:
    installation.open()
    first = installation.controller()
    leader = installation.wait_for_leader(first)
    second = installation.controller()
    wait_for(lambda: stands_by(second), message="it has looked at the lease")
    killed_at = time.monotonic()
    first.kill()
    successor = installation.wait_for_leader(second)
    assert time.monotonic() - killed_at < 10
    took_over = installation.query(
        "SELECT target_name FROM audit_event WHERE action = 'controller.took_over' ORDER BY id"
    )
    assert [name for (name,) in took_over] == [leader, successor]
    third = installation.controller()
    assert second.stdout is not None
    assert second.stdout.readline() == f"poolwarden controller: leading as {successor}\n"
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=20) == 0
    installation.wait_for_leader(third)
    third.send_signal(signal.SIGINT)
    assert third.wait(timeout=20) == 0
    assert installation.leading() == ""


def test_killed_while_it_publishes_nothing_is_lost(installation: Installation) -> None:
    team = Team.objects.create(slug="payments", name="Payments")
    for n in range(POOLS):
        pause(new_pool(team, f"pool-{n:02}"))
    installation.open()
    process = installation.controller()
    wait_for(lambda: waiting(installation) < 2 * POOLS, timeout=20, every=0.002, message="it publishes")
    process.kill()
    process.wait(timeout=10)
    assert waiting(installation) > 0, "it was killed in the middle"
    installation.controller()
    wait_for(lambda: waiting(installation) == 0, timeout=30, message="its successor publishes the rest")
    rows = installation.query(
        "SELECT p.uid, c.envelope FROM pools_configversion c JOIN pools_pool p ON p.id = c.pool_id"
    )
    assert len(rows) == POOLS
    client = installation.valkey.client
    for uid, envelope in rows:
        dashed = re.sub(r"^(.{8})(.{4})(.{4})(.{4})(.{12})$", r"\1-\2-\3-\4-\5", str(uid).replace("-", ""))
        assert client.get(f"pw:config:{dashed}") == bytes(envelope)
        assert json.loads(client.hget("pw:desired", dashed))["generation"] == 1
    signed = installation.query("SELECT count(*) FROM audit_event WHERE action = 'config.signed'")
    assert signed[0][0] == POOLS, "each version was signed once"


def test_it_waits_for_a_broker_and_a_database_that_are_away(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team.objects.create(slug="payments", name="Payments")
    pool = new_pool(team)
    installation.open()
    port = installation.valkey.port
    monkeypatch.setattr(installation.valkey, "port", 1)  # nobody listens there
    process = installation.controller()
    installation.wait_for_leader(process)
    error = wait_for(lambda: installation.query("SELECT error FROM pools_brokerstate"), timeout=15)
    assert "127.0.0.1:1 cannot be reached" in error[0][0]
    assert process.poll() is None
    assert waiting(installation) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 0
    monkeypatch.setattr(installation.valkey, "port", port)
    installation.controller()
    wait_for(lambda: waiting(installation) == 0, timeout=20)
    assert installation.valkey.client.exists(f"pw:config:{pool.uid}")


def test_a_database_without_tables_is_said_in_one_line(installation: Installation) -> None:
    installation.home.mkdir(parents=True)
    process = installation.controller("--once", POOLWARDEN_DATABASE_URL=f"sqlite:///{installation.home}/empty.sqlite3")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith("poolwarden controller: cannot use the database: ") and errors.count("\n") == 1
    assert list((installation.home / "keys").iterdir()) == []
