"""A worker host whose clock is an hour off runs nothing, and says why."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from rq import Queue

from pools.runtime import clock
from tests.runtime.conftest import APPLICATION
from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for


def skewed(host: AgentHost, file: Path) -> tuple[str, dict[str, Any]]:
    """A pool whose workers' clock is off by what the file says."""
    host.environment["CLOCK"] = str(file)
    application = {"directory": str(APPLICATION), "preload": ["skewed"]}
    return new_uid(), spec(application=application, environment=["CLOCK"])


@pytest.mark.parametrize(("seconds", "said"), [(3600, "3,600 s ahead of"), (-3600, "3,600 s behind")])
def test_a_worker_whose_clock_is_an_hour_off_does_not_start(
    host: AgentHost, tmp_path: Path, seconds: int, said: str
) -> None:
    (tmp_path / "clock").write_text(str(seconds))
    uid, wanted = skewed(host, tmp_path / "clock")
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.mark", str(tmp_path / "ran"))
    host.configure(uid, wanted)
    host.start()
    failure = wait_for(lambda: host.pool(uid).get("boot_failure"), timeout=60, message=host.log)
    assert failure["message"] == f"This host's clock is {said} the broker's. No worker runs here until it is right."
    assert places(host.valkey.client, "mail", job.id) == ["queue"]
    assert not (tmp_path / "ran").exists()


def test_a_worker_whose_clock_jumps_stops_and_loses_nothing(host: AgentHost, tmp_path: Path) -> None:
    uid, wanted = skewed(host, tmp_path / "clock")
    host.configure(uid, wanted)
    host.start()
    host.wait_for_workers(uid, 1)
    queue = Queue("mail", connection=host.valkey.client)
    first = queue.enqueue("tasks.add", 1, 2)
    wait_for(lambda: first.get_status() == "finished", timeout=60, message="the clock is right")
    (tmp_path / "next").write_text("-3600")
    (tmp_path / "next").rename(tmp_path / "clock")
    failure = wait_for(lambda: host.pool(uid).get("boot_failure"), timeout=90, message=host.log)
    assert "3,600 s behind" in failure["message"]
    second = queue.enqueue("tasks.add", 1, 2)
    assert host.events("worker.lost") == []
    assert places(host.valkey.client, "mail", second.id) == ["queue"]


def test_a_slow_answer_is_no_wrong_clock() -> None:
    """A process may be stopped between its question and the answer."""
    now = time.time()
    assert clock.fault(now - 300, (int(now - 290), 0)) == ""
    assert clock.fault(now, (int(now), 0)) == ""
    assert re.match(r"This host's clock is 6\d s ahead of the broker's\.", clock.fault(now, (int(now - 60), 0)))
