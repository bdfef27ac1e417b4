from typing import Any

import pytest

from pools.models import Pool
from tests.api.calling import Caller, problem
from tests.support import factories as make
from tests.support.cast import Cast


@pytest.fixture
def fleet(payments: Pool, refunds: Pool) -> None:
    """An agent that serves both pools, one for refunds alone, and an idle one."""
    shared, other = make.agent("shared", labels={"zone": "eu"}), make.agent("other")
    make.agent("idle")
    make.serves(shared, payments, running=1, refused_version=2, refused_code="expired", refused_at=make.ago(hours=1))
    make.serves(shared, refunds)
    make.serves(other, refunds)
    make.worker(payments, "shared/1", agent=shared, state="busy", current_job_id="job-1", current_since=make.ago())
    make.worker(refunds, "other/1", agent=other, gone_at=make.ago(minutes=3))
    make.queue(payments, "payments", depth=12, oldest_enqueued_at=make.ago(minutes=2), failed=3)
    make.queue(refunds, "refunds")


@pytest.mark.usefixtures("fleet")
def test_queues(alice: Caller, charlie: Caller) -> None:
    (queue,) = alice.items("queues")
    assert queue.pop("oldest_enqueued_at").endswith("Z")
    assert queue == {
        "name": "payments",
        "pool": "payments",
        "broker": "default",
        "depth": 12,
        "started": 0,
        "failed": 3,
        "deferred": 0,
        "scheduled": 0,
    }
    assert [queue["name"] for queue in charlie.items("queues")] == ["refunds"]


def test_cron_slots(alice: Caller, charlie: Caller, payments: Pool, refunds: Pool) -> None:
    make.cron_slot(payments, "report", end="failed", job_id="cron-report-1", queue="payments", config_number=2)
    make.cron_slot(refunds, "sweep", outcome="skipped")
    (slot,) = alice.items("cron-slots")
    assert slot.pop("slot_at").endswith("Z") and slot.pop("reported_at").endswith("Z")
    assert slot == {
        "pool": "payments",
        "name": "report",
        "outcome": "enqueued",
        "end": "failed",
        "job_id": "cron-report-1",
        "queue": "payments",
        "agent": "",
        "config_version": 2,
    }
    assert [slot["name"] for slot in charlie.items("cron-slots")] == ["sweep"]


@pytest.mark.usefixtures("fleet")
def test_workers(alice: Caller, charlie: Caller) -> None:
    (worker,) = alice.items("workers")
    assert worker["name"] == "shared/1" and worker["agent"] == "shared" and worker["state"] == "busy"
    assert worker["config_version"] == 2 and worker["gone_at"] is None and worker["last_seen"].endswith("Z")
    (gone,) = charlie.items("workers")
    assert gone["name"] == "other/1" and gone["gone_at"].endswith("Z")


@pytest.mark.usefixtures("fleet")
def test_agents_speak_of_visible_pools_alone(alice: Caller, charlie: Caller, cast: Cast) -> None:
    shared, idle = alice.items("agents")
    assert shared["labels"] == {"zone": "eu"} and idle["name"] == "idle" and idle["pools"] == []
    (word,) = shared["pools"]
    assert word == {
        "pool": "payments",
        "told": 2,
        "verified": 2,
        "running": 1,
        "generation": 0,
        "run_state": "running",
        "refused_version": 2,
        "refused_code": "expired",
        "refused_detail": "",
        "boot_failure": "",
    }
    assert [agent["name"] for agent in charlie.items("agents")] == ["shared", "other", "idle"]
    assert [agent["name"] for agent in Caller(cast.vera).items("agents")] == ["shared"]


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("path", ["queues", "workers"])
def test_a_pool_narrows(alice: Caller, path: str) -> None:
    assert len(alice.items(path, pool="payments")) == 1
    assert alice.items(path, pool="refunds") == alice.items(path, pool="nothing") == []
    problem(alice.get(path, pool="a\0b"), 422, "pool")


BAD_PAGES: list[dict[str, Any]] = [
    {"limit": 0},
    {"limit": 501},
    {"limit": "many"},
    {"cursor": "garbage"},
    {"cursor": -1},
    {"cursor": "1\0"},
]


@pytest.mark.parametrize("path", ["pools", "queues", "workers", "agents", "operations", "pools/payments/config"])
def test_a_bad_page_is_named(alice: Caller, payments: Pool, subtests: pytest.Subtests, path: str) -> None:
    for query in BAD_PAGES:
        with subtests.test(**query):
            problem(alice.get(path, **query), 422, *query)


def test_a_cursor_beyond_the_integers_is_an_ordinary_place(alice: Caller, payments: Pool) -> None:
    assert alice.items("pools", cursor=10**30) == []
    assert len(alice.items("pools/payments/config", cursor=10**30)) == 2
